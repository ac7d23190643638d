package helm

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/upcommerce/backout/rollback"
)

// weightSetters reads the namespace's Canaries (Flagger) and Rollouts (Argo Rollouts);
// kinds that the API server does not serve have no objects. It returns an error if
// backout may not list a kind that is served: backout and that tool could overwrite
// each other's weights.
func (c *Client) weightSetters(ctx context.Context, namespace string) (rollback.Manifest, error) {
	var found rollback.Manifest
	for _, kind := range []schema.GroupVersionResource{
		{Group: "flagger.app", Version: "v1beta1", Resource: "canaries"},
		{Group: "argoproj.io", Version: "v1alpha1", Resource: "rollouts"},
	} {
		list, err := c.dynamic.Resource(kind).Namespace(namespace).List(ctx, metav1.ListOptions{})
		if apierrors.IsForbidden(err) {
			err = c.forbiddenOrAbsent(ctx, kind, err)
		}
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("list %s in %s: %w", kind.GroupResource(), namespace, err)
		}
		for i := range list.Items {
			found = append(found, list.Items[i].Object)
		}
	}
	return found, nil
}

// forbiddenOrAbsent returns forbidden with a hint if the kind is served, and a NotFound
// error if it is not: the API server forbids lists of a kind that it does not serve,
// too. It reads the discovery again, because the kind may have been added since.
func (c *Client) forbiddenOrAbsent(ctx context.Context, kind schema.GroupVersionResource, forbidden error) error {
	served, err := c.clientset.Discovery().ServerResourcesForGroupVersionWithContext(ctx, kind.GroupVersion().String())
	if err != nil {
		return err
	}
	for _, r := range served.APIResources {
		if r.Name == kind.Resource {
			return fmt.Errorf("%w; such objects may set the canary's weight: add to backout's Role there {apiGroups: [%s], resources: [%s], verbs: [list]}",
				forbidden, kind.Group, kind.Resource)
		}
	}
	return apierrors.NewNotFound(kind.GroupResource(), "")
}
