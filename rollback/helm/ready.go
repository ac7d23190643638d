package helm

import (
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

// Ready reports whether every Deployment, StatefulSet and DaemonSet of the revision has
// been rolled out, by the same rules as `kubectl rollout status`: all pods are of the
// newest template and available, and no older pod is left; of a StatefulSet with a
// partition, this holds for the pods from the partition on. Of a workload with the
// update strategy OnDelete, the pods have to be ready, and the canary's also have to be
// of the newest template: an older one is no backend of the revision.
//
// If not, waiting says what is missing. Ready does not wait for other kinds, nor for
// workloads outside of the release's namespace, which no rollback writes.
func (c *Client) Ready(ctx context.Context, k rollback.Key, revision int) (ready bool, waiting string, err error) {
	return c.ready(ctx, k, revision, func(workload) bool { return false })
}

// ReadyStable is Ready without the canary's workloads.
func (c *Client) ReadyStable(ctx context.Context, k rollback.Key, revision int) (ready bool, waiting string, err error) {
	return c.ready(ctx, k, revision, workload.ofCanary)
}

// ready is Ready without the workloads that are left out.
func (c *Client) ready(ctx context.Context, k rollback.Key, revision int, leftOut func(workload) bool) (ready bool, waiting string, err error) {
	declared, err := c.Manifest(ctx, k, revision)
	if err != nil {
		return false, "", err
	}
	workloads := workloadsOf(c.track, k.Namespace, declared)
	for _, object := range declared {
		o := &unstructured.Unstructured{Object: object}
		id := identity(k.Namespace, object)
		if slices.ContainsFunc(workloads, func(w workload) bool { return w.id == id && leftOut(w) }) {
			continue
		}
		viewer, err := polymorphichelpers.StatusViewerFor(o.GroupVersionKind().GroupKind())
		if err != nil || o.GetNamespace() != "" && o.GetNamespace() != k.Namespace {
			continue // not a kind that is rolled out, or not the release's own
		}
		live, err := c.readWorkload(ctx, k, o)
		if apierrors.IsNotFound(err) {
			return false, title(k, o.GetKind(), o.GetNamespace(), o.GetName()) + " does not exist", nil
		}
		if err != nil {
			return false, "", err
		}
		var text string
		var done bool
		if usesOnDelete(live) {
			canary := slices.ContainsFunc(workloads, func(w workload) bool { return w.id == id && w.Canary })
			text, done = onDeleteStatus(live, canary)
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

// readWorkload reads the live object of a declared workload.
func (c *Client) readWorkload(ctx context.Context, k rollback.Key, o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	gvk, namespace := o.GroupVersionKind(), k.Namespace
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

// usesOnDelete reports whether a pod of the workload is replaced only when it is
// deleted.
func usesOnDelete(live *unstructured.Unstructured) bool {
	strategy, _, _ := unstructured.NestedString(live.Object, "spec", "updateStrategy", "type")
	return strategy == string(appsv1.OnDeleteStatefulSetStrategyType) // the word is the same for a DaemonSet
}

// onDeleteStatus is the status of a workload with the update strategy OnDelete, which
// kubectl does not report.
func onDeleteStatus(live *unstructured.Unstructured, canary bool) (waiting string, done bool) {
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
		return name + ": its controller has not observed the change yet", false
	case ready < wanted:
		return fmt.Sprintf("%s: %d of %d pods are ready", name, ready, wanted), false
	case canary && updated < wanted:
		return fmt.Sprintf("%s: %d of %d pods are of the new template; its strategy is OnDelete: delete the others", name, updated, wanted), false
	default:
		return "", true
	}
}
