// Package traffic sets the canary's weight on live routing objects. Each kind of
// router has one file; so far that is ingress-nginx.
//
// What a routing object is, and which side of it is the canary, is read from the
// release's stored manifest. No label of an alert names an object.
package traffic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/upcommerce/backout/rollback"
)

// fieldManager names backout in the managed fields of what it patches.
const fieldManager = "backout"

// Bounds on repeating a patch whose object was changed meanwhile.
const (
	maxPatches    = 10
	patchInterval = 5 * time.Millisecond
)

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
func (r *Router) Shed(ctx context.Context, k rollback.Key, manifest string) ([]rollback.Weight, error) {
	return r.each(ctx, k, manifest, func(ctx context.Context, declared *unstructured.Unstructured) (rollback.Weight, error) {
		return r.set(ctx, k, declared.GetName(), shedIngress)
	})
}

// Raise sets the live weights to what the manifest declares and returns them. It
// undoes what Shed did; it is for the caller to know that the pods are ready.
func (r *Router) Raise(ctx context.Context, k rollback.Key, manifest string) ([]rollback.Weight, error) {
	return r.each(ctx, k, manifest, func(ctx context.Context, declared *unstructured.Unstructured) (rollback.Weight, error) {
		weight := declaredWeight(declared.GetAnnotations())
		return r.set(ctx, k, declared.GetName(), func(live *unstructured.Unstructured) (rollback.Weight, []operation) {
			return raiseIngress(live, weight)
		})
	})
}

// Hold sets the canary's weight to zero in one decoded object. What is no canary
// route is left alone.
func (r *Router) Hold(object map[string]any) {
	if o := (&unstructured.Unstructured{Object: object}); isCanaryIngress(o) {
		annotations := o.GetAnnotations()
		annotations[weightAnnotation] = zero
		o.SetAnnotations(annotations)
	}
}

// each calls do for every canary route that the manifest declares.
func (r *Router) each(ctx context.Context, k rollback.Key, manifest string,
	do func(context.Context, *unstructured.Unstructured) (rollback.Weight, error),
) ([]rollback.Weight, error) {
	routes, err := canaryRoutes(k, manifest)
	errs := []error{err}
	var weights []rollback.Weight
	for _, route := range routes {
		weight, err := do(ctx, route)
		switch {
		case apierrors.IsNotFound(err):
			continue
		case err != nil:
			errs = append(errs, fmt.Errorf("set the weight of %s %s/%s: %w", route.GetKind(), k.Namespace, route.GetName(), err))
		default:
			weights = append(weights, weight)
		}
	}
	return weights, errors.Join(errs...)
}

// canaryRoutes returns the routing objects of the manifest that lead to the
// canary, together with an error for each that lies outside the release's
// namespace: those are never touched.
func canaryRoutes(k rollback.Key, manifest string) ([]*unstructured.Unstructured, error) {
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(manifest), 4096)
	var routes []*unstructured.Unstructured
	var errs []error
	for {
		var o unstructured.Unstructured
		err := decoder.Decode(&o.Object)
		if errors.Is(err, io.EOF) {
			return routes, errors.Join(errs...)
		}
		if err != nil {
			return routes, errors.Join(append(errs, fmt.Errorf("decode the manifest of %s: %w", k, err))...)
		}
		if !isCanaryIngress(&o) {
			continue
		}
		if ns := o.GetNamespace(); ns != "" && ns != k.Namespace {
			errs = append(errs, fmt.Errorf("%s %s/%s lies outside the release's namespace %s: set its weight by hand",
				o.GetKind(), ns, o.GetName(), k.Namespace))
			continue
		}
		routes = append(routes, &o)
	}
}

// operation is one step of a JSON Patch.
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value,omitempty"`
}

// set reads the live object and writes what change asks for, provided that the
// object is still the one that was read. It repeats both when somebody else wrote
// in between. Nothing is written if change asks for nothing.
func (r *Router) set(ctx context.Context, k rollback.Key, name string,
	change func(live *unstructured.Unstructured) (rollback.Weight, []operation),
) (rollback.Weight, error) {
	ingresses := r.objects.Resource(ingressResource()).Namespace(k.Namespace)
	for attempt := 1; ; attempt++ {
		live, err := ingresses.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return rollback.Weight{}, err
		}
		weight, operations := change(live)
		if len(operations) == 0 {
			return weight, nil
		}
		same := operation{Op: "test", Path: "/metadata/resourceVersion", Value: live.GetResourceVersion()}
		patch, err := json.Marshal(append([]operation{same}, operations...))
		if err != nil {
			return rollback.Weight{}, err
		}
		_, err = ingresses.Patch(ctx, name, types.JSONPatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
		if err == nil {
			return weight, nil
		}
		// A failed test operation is answered 422, a lost race 409.
		if attempt == maxPatches || !(apierrors.IsConflict(err) || apierrors.IsInvalid(err)) {
			return rollback.Weight{}, err
		}
		select {
		case <-ctx.Done():
			return rollback.Weight{}, ctx.Err()
		case <-time.After(patchInterval):
		}
	}
}
