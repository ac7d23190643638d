package traffic

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/upcommerce/backout/rollback"
)

// Hold returns a function that sets the canary's weight to zero in one decoded object of the
// manifest, before Helm writes it. It leaves other objects alone, and objects whose canary
// is ambiguous. It does not change the manifest itself.
//
// Hold reads the live routing objects: an operator's annotation on one of them decides which
// side is the canary, and other canaries that are held on it stay at zero. The function is
// usable even if Hold returns an error, which names the objects that could not be read.
func (r *Router) Hold(ctx context.Context, k rollback.Key, m rollback.Manifest) (func(object rollback.Object), error) {
	live := make(map[identity]*unstructured.Unstructured)
	var errs []error
	for _, object := range m {
		o := &unstructured.Unstructured{Object: object}
		gvk := o.GroupVersionKind()
		kind, ok := r.kinds[gvk.GroupKind()]
		if !ok || gvk.Kind == deploymentKind || gvk.Kind == scaledObjectKind || o.GetNamespace() != "" && o.GetNamespace() != k.Namespace {
			continue
		}
		found, err := r.objects.Resource(gvk.GroupVersion().WithResource(kind.resource)).Namespace(k.Namespace).Get(ctx, o.GetName(), metav1.GetOptions{})
		switch {
		case err == nil:
			live[identityOf(o)] = found
		case !apierrors.IsNotFound(err):
			errs = append(errs, fmt.Errorf("read %s %s/%s: %w", kind.name, k.Namespace, o.GetName(), err))
		}
	}
	return r.kinds.holdIn(m, r.track, live), errors.Join(errs...)
}

// HoldTarget is Hold for a canary that stays at zero after Helm has written the manifest: in a
// Deployment whose replicas are the canary's weight, these are zero as well. It returns an error
// if not all of the canary's routes could be found and read, which is rollback.ErrNoRoute without
// any route.
func (r *Router) HoldTarget(ctx context.Context, k rollback.Key, m rollback.Manifest) (func(object rollback.Object), error) {
	routes, err := r.routes(ctx, k, m)
	if err == nil && len(routes) == 0 {
		err = rollback.ErrNoRoute
	}
	hold, holdErr := r.Hold(ctx, k, m)
	if err := errors.Join(err, holdErr); err != nil {
		return nil, err
	}
	return func(object rollback.Object) {
		hold(object)
		o := &unstructured.Unstructured{Object: object}
		for _, route := range routes {
			switch {
			case route.kind.name != deploymentKind:
			case o.GetKind() == deploymentKind && o.GetName() == route.name:
				_ = unstructured.SetNestedField(object, int64(0), "spec", "replicas") // a spec of another type makes no pods
			case o.GetKind() == scaledObjectKind && keda{}.targetOf(o) == route.name:
				keda{}.pause(o)
			}
		}
	}, nil
}

// identity identifies an object within its namespace.
type identity struct {
	kind schema.GroupKind
	name string
}

func identityOf(o *unstructured.Unstructured) identity {
	return identity{kind: o.GroupVersionKind().GroupKind(), name: o.GetName()}
}

// holdIn returns the function of Hold, for those of the live objects that could be read.
func (r registry) holdIn(m rollback.Manifest, t rollback.Track, live map[identity]*unstructured.Unstructured) func(object rollback.Object) {
	c := r.canaryOf(m, t)
	return func(object rollback.Object) {
		o := &unstructured.Unstructured{Object: object}
		kind, ok := r[o.GroupVersionKind().GroupKind()]
		if !ok {
			return
		}
		side, now := c.on(o), live[identityOf(o)]
		if now != nil {
			side = side.on(now)
		}
		kind.router.hold(o, now, side)
	}
}
