package helm

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/kubectl/pkg/polymorphichelpers"

	"github.com/upcommerce/backout/rollback"
)

// Ready reports whether every Deployment, StatefulSet and DaemonSet of the
// revision has been rolled out, by the measure of `kubectl rollout status`: all
// pods are of the newest template, available, and no older one is left; of a
// StatefulSet with a partition, all pods beyond it. Of a workload whose pods are
// replaced only when somebody deletes them, the pods have to be ready, and the
// canary's new as well: an old one is no backend of the revision.
//
// If not, the text says what is waited for. Other kinds are not waited for.
func (c *Client) Ready(ctx context.Context, k rollback.Key, revision int) (ready bool, waiting string, err error) {
	declared, err := c.Manifest(ctx, k, revision)
	if err != nil {
		return false, "", err
	}
	workloads := workloadsOf(k.Namespace, declared)
	for _, object := range declared {
		o := &unstructured.Unstructured{Object: object}
		viewer, err := polymorphichelpers.StatusViewerFor(o.GroupVersionKind().GroupKind())
		if err != nil {
			continue // not a kind that is rolled out
		}
		live, err := c.rolledOut(ctx, k, o)
		if apierrors.IsNotFound(err) {
			return false, title(k, o.GetKind(), o.GetNamespace(), o.GetName()) + " is not there", nil
		}
		if err != nil {
			return false, "", err
		}
		var text string
		var done bool
		if byHand(live) {
			id := identity(k.Namespace, object)
			canary := slices.ContainsFunc(workloads, func(w workload) bool { return w.id == id && w.canary })
			text, done = replacedByHand(live, canary)
		} else {
			text, done, err = viewer.Status(live, 0)
		}
		if err != nil {
			text, done = err.Error(), false // such as a progress deadline that has passed
		}
		if !done {
			return false, strings.TrimSpace(text), nil
		}
	}
	return true, "", nil
}

// rolledOut reads the live object of a workload that is declared.
func (c *Client) rolledOut(ctx context.Context, k rollback.Key, o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	gvk, namespace := o.GroupVersionKind(), cmp.Or(o.GetNamespace(), k.Namespace)
	// Workloads are Kubernetes' own kinds: the mapper always knows them.
	mapping, err := c.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if err != nil {
		return nil, fmt.Errorf("find the resource of %s: %w", gvk, err)
	}
	live, err := c.dynamic.Resource(mapping.Resource).Namespace(namespace).Get(ctx, o.GetName(), metav1.GetOptions{})
	if err != nil {
		return nil, fmt.Errorf("read %s %s/%s: %w", gvk.Kind, namespace, o.GetName(), err)
	}
	return live, nil
}

// byHand reports whether the workload's pods are replaced only when somebody
// deletes them.
func byHand(live *unstructured.Unstructured) bool {
	strategy, _, _ := unstructured.NestedString(live.Object, "spec", "updateStrategy", "type")
	return strategy == string(appsv1.OnDeleteStatefulSetStrategyType) // a DaemonSet's is the same word
}

// replacedByHand says what is waited for of such a workload, which kubectl has no
// measure for.
func replacedByHand(live *unstructured.Unstructured, canary bool) (waiting string, done bool) {
	number := func(otherwise int64, path ...string) int64 {
		value, found, _ := unstructured.NestedFieldNoCopy(live.Object, path...)
		if n, ok := integer(value); found && ok {
			return n
		}
		return otherwise
	}
	name := live.GetKind() + " " + live.GetName()
	wanted := number(1, "spec", "replicas")
	ready, updated := number(0, "status", "readyReplicas"), number(0, "status", "updatedReplicas")
	if live.GetKind() == "DaemonSet" {
		wanted = number(0, "status", "desiredNumberScheduled")
		ready, updated = number(0, "status", "numberReady"), number(0, "status", "updatedNumberScheduled")
	}
	switch {
	case number(0, "status", "observedGeneration") < live.GetGeneration():
		return name + ": its change is not observed yet", false
	case ready < wanted:
		return fmt.Sprintf("%s: %d of %d pods are ready", name, ready, wanted), false
	case canary && updated < wanted:
		return fmt.Sprintf("%s: %d of %d pods are of the new template; its strategy is OnDelete: delete the others", name, updated, wanted), false
	default:
		return "", true
	}
}
