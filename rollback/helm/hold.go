package helm

import (
	"context"
	"fmt"

	"helm.sh/helm/v3/pkg/kube"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/upcommerce/backout/rollback"
)

// holdingClient is Helm's Kubernetes client with five differences: it leaves objects alone
// that are not the release's own, that stay as they are or whose kind is not served; in those that it writes, the
// canary's weight is zero and a number of replicas does not get lower; it repairs objects in
// which Helm's merge would leave parts of other revisions; and an object that it could not
// delete is an error.
//
// Helm writes object by object without waiting for pods: without the hold, it would
// restore the canary's weight while the bad pods still serve.
type holdingClient struct {
	*kube.Client
	ctx      context.Context //nolint:containedctx // Helm's client takes none; this one lives for one call.
	confined confinement
	// hold sets the weight to zero in a decoded object; nil holds nothing.
	hold func(object rollback.Object)
	// scalers reads the objects of a namespace that are autoscaled.
	scalers scalerList
	// unfinished may have left parts in the live objects.
	unfinished unfinished
	unserved   unserved
}

// Update prepares target as planned, then Helm writes it.
func (h *holdingClient) Update(original, target kube.ResourceList, force bool) (*kube.Result, error) {
	original, target = h.confined.within(original), h.confined.within(target)
	if err := h.prepare(original, target); err != nil {
		return &kube.Result{}, err
	}
	result, err := h.write(original, target, func(original, target kube.ResourceList) (*kube.Result, error) {
		return h.Client.Update(original, target, force)
	})
	if err != nil {
		return result, err
	}
	return result, checkDeleted(original.Difference(target).Difference(result.Deleted))
}

// UpdateThreeWayMerge does the same as Update.
func (h *holdingClient) UpdateThreeWayMerge(original, target kube.ResourceList, force bool) (*kube.Result, error) {
	original, target = h.confined.within(original), h.confined.within(target)
	if err := h.prepare(original, target); err != nil {
		return &kube.Result{}, err
	}
	result, err := h.write(original, target, func(original, target kube.ResourceList) (*kube.Result, error) {
		return h.Client.UpdateThreeWayMerge(original, target, force)
	})
	if err != nil {
		return result, err
	}
	return result, checkDeleted(original.Difference(target).Difference(result.Deleted))
}

// prepare holds the weight, and keeps replicas, in the objects that Helm is about to
// write.
func (h *holdingClient) prepare(original, target kube.ResourceList) error {
	if err := keepReplicas(h.ctx, original, target, h.scalers); err != nil {
		return err
	}
	if h.hold == nil {
		return nil
	}
	return target.Visit(func(info *resource.Info, err error) error {
		if err != nil {
			return err
		}
		if o, ok := info.Object.(*unstructured.Unstructured); ok {
			h.hold(o.Object)
		}
		return nil
	})
}

// checkDeleted returns an error if one of the objects still exists. Helm only logs that
// it could not delete an object, and calls the release deployed.
func checkDeleted(objects kube.ResourceList) error {
	return objects.Visit(func(info *resource.Info, err error) error {
		if err != nil {
			return err
		}
		live, err := resource.NewHelper(info.Client, info.Mapping).Get(info.Namespace, info.Name)
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("check that %s was deleted: %w", info.ObjectName(), err)
		}
		if o, ok := live.(*unstructured.Unstructured); ok && (isKept(o) || o.GetDeletionTimestamp() != nil) {
			return nil
		}
		return fmt.Errorf("%s was not deleted, though the target does not declare it: may backout delete it?", info.ObjectName())
	})
}

// isKept reports whether Helm keeps the live object instead of deleting it.
func isKept(live *unstructured.Unstructured) bool {
	return live.GetAnnotations()[kube.ResourcePolicyAnno] == kube.KeepPolicy
}
