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

// Hold returns a function that sets the canary's weight to zero in one decoded
// object of the manifest, before it is written. Other objects are left alone, and
// so is one of which nobody knows which side is the canary. The manifest itself is
// not changed.
//
// It reads the live routing objects: what a person has written on one of them about
// its canary counts, and other canaries that are held on it stay at zero, too. The
// function is of use even with an error, which names the objects that could not be
// read.
func (r *Router) Hold(ctx context.Context, k rollback.Key, m rollback.Manifest) (func(object rollback.Object), error) {
	live := make(map[identity]*unstructured.Unstructured)
	known := kinds()
	var errs []error
	for _, object := range m {
		o := &unstructured.Unstructured{Object: object}
		gvk := o.GroupVersionKind()
		kind, ok := known[gvk.GroupKind()]
		if !ok || gvk.Kind == deploymentKind || o.GetNamespace() != "" && o.GetNamespace() != k.Namespace {
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
	return holdIn(m, live), errors.Join(errs...)
}

// identity is an object of one namespace.
type identity struct {
	kind schema.GroupKind
	name string
}

func identityOf(o *unstructured.Unstructured) identity {
	return identity{kind: o.GroupVersionKind().GroupKind(), name: o.GetName()}
}

// holdIn returns what Hold does, by what is known of the live objects.
func holdIn(m rollback.Manifest, live map[identity]*unstructured.Unstructured) func(object rollback.Object) {
	c := canaryOf(m)
	known := kinds()
	return func(object rollback.Object) {
		o := &unstructured.Unstructured{Object: object}
		kind, ok := known[o.GroupVersionKind().GroupKind()]
		if !ok {
			return
		}
		mine, now := c.on(o), live[identityOf(o)]
		if now != nil {
			mine = mine.on(now)
		}
		if leads, err := kind.router.leads(o, mine); err == nil && leads {
			kind.router.hold(o, mine)
		}
		if w, ok := kind.router.(weighted); ok && now != nil {
			w.keep(o, now, mine)
		}
	}
}

// keep gives nothing to the other canaries that are held on the live object, as far
// as its lists are still the same.
func (w weighted) keep(object, live *unstructured.Unstructured, c canary) {
	held, now := marksOn(live), make(map[string]split)
	for _, s := range w.all(live, c) {
		now[s.label] = s
	}
	for _, s := range w.all(object, c) {
		if !s.alike(now[s.label]) {
			continue
		}
		if kept, err := held.kept(s, now[s.label]); err == nil {
			s.write(kept)
		}
	}
}
