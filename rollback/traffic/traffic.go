// Package traffic sets the canary's weight on live routing objects. Each kind of
// router has one file, which says how the weight stands in its objects; this one
// finds the objects and patches them.
//
// What a routing object is, and which side of it is the canary, is read from the
// release's stored manifest. No label of an alert names an object.
package traffic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/upcommerce/backout/rollback"
)

// fieldManager names backout in the managed fields of what it patches.
const fieldManager = "backout"

// heldAnnotation is backout's own: the weights that a shed found. It stands on a
// routing object for as long as its weight is held at zero.
const heldAnnotation = "backout.dev/held-weight"

// Bounds on repeating a patch whose object was changed meanwhile.
const (
	maxPatches    = 10
	patchInterval = 5 * time.Millisecond
)

// router is one kind of router: how the canary's weight stands in its objects.
// None of its methods asks anything of the cluster.
type router interface {
	// resource is where the objects are found.
	resource(object *unstructured.Unstructured) schema.GroupVersionResource
	// leads reports whether the object leads to a canary.
	leads(object *unstructured.Unstructured, canaries backends) bool
	// shed returns the weights before and after, and what is to be written for the
	// canary to get nothing. It returns no operation if that is so already.
	shed(live *unstructured.Unstructured, canaries backends) ([]rollback.Weight, []operation, error)
	// raise returns the weights before and after, and what is to be written for
	// them to be the declared ones.
	raise(live, declared *unstructured.Unstructured, canaries backends) ([]rollback.Weight, []operation, error)
	// hold sets the canary's weight to zero in an object that is not yet written.
	hold(object *unstructured.Unstructured, canaries backends)
}

// routers returns every kind, by the objects it is responsible for.
func routers() map[schema.GroupKind]router {
	return map[schema.GroupKind]router{
		{Group: "networking.k8s.io", Kind: "Ingress"}:           ingressNGINX{},
		{Group: "gateway.networking.k8s.io", Kind: "HTTPRoute"}: gatewayAPI{resourceName: "httproutes"},
		{Group: "gateway.networking.k8s.io", Kind: "GRPCRoute"}: gatewayAPI{resourceName: "grpcroutes"},
	}
}

// Router sets the canary's weight on live routing objects. It is safe for
// concurrent use.
type Router struct {
	objects dynamic.Interface
}

// New returns a Router for the cluster that config reaches.
func New(config *rest.Config) (*Router, error) {
	objects, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("make a dynamic client: %w", err)
	}
	return &Router{objects: objects}, nil
}

// Shed sets the canary's weight to zero on every live routing object that the
// manifest declares in the release's namespace, and returns the weights as they
// were and are. It goes on to the next object when one fails, and returns all
// errors joined. An object that is gone routes nothing and is left out.
func (r *Router) Shed(ctx context.Context, k rollback.Key, m rollback.Manifest) ([]rollback.Weight, error) {
	return r.each(ctx, k, m, func(o route, live *unstructured.Unstructured) ([]rollback.Weight, []operation, error) {
		return o.router.shed(live, o.canaries)
	})
}

// Raise sets the live weights to what the manifest declares and returns them. It
// undoes what Shed did; it is for the caller to know that the pods are ready.
func (r *Router) Raise(ctx context.Context, k rollback.Key, m rollback.Manifest) ([]rollback.Weight, error) {
	return r.each(ctx, k, m, func(o route, live *unstructured.Unstructured) ([]rollback.Weight, []operation, error) {
		return o.router.raise(live, o.declared, o.canaries)
	})
}

// Hold returns a function that sets the canary's weight to zero in one decoded
// object of the manifest, before it is written. Other objects are left alone.
func (r *Router) Hold(m rollback.Manifest) func(object rollback.Object) {
	canaries := canaryBackends(m)
	kinds := routers()
	return func(object rollback.Object) {
		o := &unstructured.Unstructured{Object: object}
		if kind, ok := kinds[o.GroupVersionKind().GroupKind()]; ok && kind.leads(o, canaries) {
			kind.hold(o, canaries)
		}
	}
}

// each writes what change asks for on every canary route that the manifest
// declares.
func (r *Router) each(ctx context.Context, k rollback.Key, m rollback.Manifest,
	change func(route, *unstructured.Unstructured) ([]rollback.Weight, []operation, error),
) ([]rollback.Weight, error) {
	routes, err := canaryRoutes(k, m)
	errs := []error{err}
	var weights []rollback.Weight
	for _, o := range routes {
		set, err := r.set(ctx, k, o, func(live *unstructured.Unstructured) ([]rollback.Weight, []operation, error) {
			return change(o, live)
		})
		switch {
		case apierrors.IsNotFound(err):
			continue
		case err != nil:
			errs = append(errs, fmt.Errorf("set the weight of %s %s/%s: %w", o.declared.GetKind(), k.Namespace, o.declared.GetName(), err))
		default:
			weights = append(weights, set...)
		}
	}
	return weights, errors.Join(errs...)
}

// operation is one step of a JSON Patch (RFC 6902).
type operation struct {
	Op, Path string
	Value    any
}

// MarshalJSON keeps a value that is zero: only a remove has none.
func (o operation) MarshalJSON() ([]byte, error) {
	if o.Op == "remove" {
		return json.Marshal(map[string]any{"op": o.Op, "path": o.Path})
	}
	return json.Marshal(map[string]any{"op": o.Op, "path": o.Path, "value": o.Value})
}

// set reads the live object and writes what change asks for, provided that the
// object is still the one that was read. It repeats both when somebody else wrote
// in between. Nothing is written if change asks for nothing.
func (r *Router) set(ctx context.Context, k rollback.Key, o route,
	change func(live *unstructured.Unstructured) ([]rollback.Weight, []operation, error),
) ([]rollback.Weight, error) {
	objects := r.objects.Resource(o.router.resource(o.declared)).Namespace(k.Namespace)
	name := o.declared.GetName()
	for attempt := 1; ; attempt++ {
		live, err := objects.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return nil, err
		}
		weights, operations, err := change(live)
		if err != nil || len(operations) == 0 {
			return weights, err
		}
		same := operation{Op: "test", Path: "/metadata/resourceVersion", Value: live.GetResourceVersion()}
		patch, err := json.Marshal(append([]operation{same}, operations...))
		if err != nil {
			return nil, err
		}
		_, err = objects.Patch(ctx, name, types.JSONPatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
		if err == nil {
			return weights, nil
		}
		// A failed test operation is answered 422, a lost race 409.
		if attempt == maxPatches || !apierrors.IsConflict(err) && !apierrors.IsInvalid(err) {
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(patchInterval):
		}
	}
}
