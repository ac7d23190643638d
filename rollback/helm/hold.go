package helm

import (
	"helm.sh/helm/v3/pkg/kube"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/upcommerce/backout/rollback"
)

// holding is Helm's Kubernetes client, but for the canary's weight, which is zero
// in everything it writes. Helm writes object by object without waiting for
// pods: left alone, it would give the canary its weight back while the bad pods
// still serve.
type holding struct {
	*kube.Client
	// hold sets the weight to zero in a decoded object.
	hold func(object rollback.Object)
}

// Update holds the weight in target, then has Helm write it.
func (h *holding) Update(original, target kube.ResourceList, force bool) (*kube.Result, error) {
	if err := h.zero(target); err != nil {
		return &kube.Result{}, err
	}
	return h.Client.Update(original, target, force)
}

// UpdateThreeWayMerge does the same as Update.
func (h *holding) UpdateThreeWayMerge(original, target kube.ResourceList, force bool) (*kube.Result, error) {
	if err := h.zero(target); err != nil {
		return &kube.Result{}, err
	}
	return h.Client.UpdateThreeWayMerge(original, target, force)
}

func (h *holding) zero(target kube.ResourceList) error {
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
