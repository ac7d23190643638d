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

// holding is Helm's Kubernetes client, but for three things in what it writes:
// the canary's weight is zero, the number of replicas that an autoscaler set
// stays, and what could not be deleted is an error.
//
// Helm writes object by object without waiting for pods: left alone, it would
// give the canary its weight back while the bad pods still serve.
type holding struct {
	*kube.Client
	ctx context.Context //nolint:containedctx // Helm's client takes none; this one lives for one call.
	// hold sets the weight to zero in a decoded object; nil holds nothing.
	hold func(object rollback.Object)
	// scalers reads what is autoscaled in a namespace.
	scalers func(ctx context.Context, namespace string) (scalers, error)
}

// Update makes target what the plan wants written, then has Helm write it.
func (h *holding) Update(original, target kube.ResourceList, force bool) (*kube.Result, error) {
	if err := h.prepare(original, target); err != nil {
		return &kube.Result{}, err
	}
	result, err := h.Client.Update(original, target, force)
	if err != nil {
		return result, err
	}
	return result, left(original.Difference(target).Difference(result.Deleted))
}

// UpdateThreeWayMerge does the same as Update.
func (h *holding) UpdateThreeWayMerge(original, target kube.ResourceList, force bool) (*kube.Result, error) {
	if err := h.prepare(original, target); err != nil {
		return &kube.Result{}, err
	}
	result, err := h.Client.UpdateThreeWayMerge(original, target, force)
	if err != nil {
		return result, err
	}
	return result, left(original.Difference(target).Difference(result.Deleted))
}

// prepare holds the weight, and keeps replicas, in what Helm is about to write.
func (h *holding) prepare(original, target kube.ResourceList) error {
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

// left returns an error if one of the objects is still there. Helm only logs
// what it could not delete, and calls the release deployed.
func left(objects kube.ResourceList) error {
	return objects.Visit(func(info *resource.Info, err error) error {
		if err != nil {
			return err
		}
		live, err := resource.NewHelper(info.Client, info.Mapping).Get(info.Namespace, info.Name)
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("look whether %s is gone: %w", info.ObjectName(), err)
		}
		if o, ok := live.(*unstructured.Unstructured); ok && (kept(o) || o.GetDeletionTimestamp() != nil) {
			return nil
		}
		return fmt.Errorf("%s was not deleted, though the target has none: may backout delete it?", info.ObjectName())
	})
}

// kept reports whether Helm leaves the live object when it would delete it.
func kept(live *unstructured.Unstructured) bool {
	return live.GetAnnotations()[kube.ResourcePolicyAnno] == kube.KeepPolicy
}
