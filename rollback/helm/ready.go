package helm

import (
	"context"
	"fmt"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/kubectl/pkg/polymorphichelpers"

	"github.com/upcommerce/backout/rollback"
)

// Ready reports whether every Deployment, StatefulSet and DaemonSet of the
// revision has been rolled out, by the measure of `kubectl rollout status`: all
// pods are of the newest template, available, and no older one is left. If not,
// the text says what is waited for. Other kinds are not waited for.
func (c *Client) Ready(ctx context.Context, k rollback.Key, revision int) (ready bool, waiting string, err error) {
	declared, err := c.Manifest(ctx, k, revision)
	if err != nil {
		return false, "", err
	}
	for _, object := range declared {
		o := &unstructured.Unstructured{Object: object}
		gvk := o.GroupVersionKind()
		viewer, err := polymorphichelpers.StatusViewerFor(gvk.GroupKind())
		if err != nil {
			continue // not a kind that is rolled out
		}
		// Workloads are Kubernetes' own kinds: the mapper always knows them.
		mapping, err := c.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
		if err != nil {
			return false, "", fmt.Errorf("find the resource of %s: %w", gvk, err)
		}
		live, err := c.dynamic.Resource(mapping.Resource).Namespace(k.Namespace).Get(ctx, o.GetName(), metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, fmt.Sprintf("%s %q is not there", gvk.Kind, o.GetName()), nil
		}
		if err != nil {
			return false, "", fmt.Errorf("read %s %s/%s: %w", gvk.Kind, k.Namespace, o.GetName(), err)
		}
		text, done, err := viewer.Status(live, 0)
		if err != nil {
			// Such as a progress deadline that has passed, or a workload whose pods
			// are replaced only when somebody deletes them.
			text, done = err.Error(), false
		}
		if !done {
			return false, strings.TrimSpace(text), nil
		}
	}
	return true, "", nil
}
