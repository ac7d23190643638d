package traffic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/parallel"
)

// fieldManager names backout in the managed fields of the objects that it patches.
const fieldManager = "backout"

// Bounds on repeating a patch of an object that was changed in the meantime. The first
// strictPatches demand the resourceVersion that was read; see unchanged.
const (
	maxPatches    = 10
	strictPatches = 4
	patchInterval = 5 * time.Millisecond
)

// errOverwritten says that the API server accepted a write and stored something else.
var errOverwritten = errors.New("the API server accepted the weight and stored another one: look for an admission webhook that writes it")

// change is one change of live routing objects.
type change struct {
	// edit returns the edit of one object; without operations if the object is as wanted.
	edit func(o route, live *unstructured.Unstructured) (edit, error)
	// fence is called before each write; nil never refuses.
	fence func() error
	// verify demands that the stored object needs no further edit.
	verify bool
	// then is a second edit, after the first one is stored; nil for none.
	then func(o route, live *unstructured.Unstructured) (edit, error)
}

// requiring returns the change with a precondition that is checked before each write, after
// the fence.
func (c change) requiring(ctx context.Context, p rollback.Precondition) change {
	if p == nil {
		return c
	}
	fence := c.fence
	c.fence = func() error {
		if fence != nil {
			if err := fence(); err != nil {
				return err
			}
		}
		return p(ctx)
	}
	return c
}

// changeAll makes the change on every route, in parallel, and returns all errors joined.
func (r *Router) changeAll(ctx context.Context, k rollback.Key, routes []observedRoute, c change) ([]rollback.Weight, error) {
	weights, errs := r.changeEach(ctx, k, routes, c)
	return slices.Concat(weights...), errors.Join(errs...)
}

// changeEach is changeAll with the weights and the error of each route.
func (r *Router) changeEach(ctx context.Context, k rollback.Key, routes []observedRoute, c change) ([][]rollback.Weight, []error) {
	weights := make([][]rollback.Weight, len(routes))
	errs := make([]error, len(routes))
	var all parallel.WaitGroup
	for i, o := range routes {
		all.Go(func() {
			changed, err := r.change(ctx, k, o, c)
			if err == nil && c.then != nil {
				_, err = r.change(ctx, k, observedRoute{route: o.route}, change{edit: c.then, fence: c.fence})
			}
			if err != nil && !apierrors.IsNotFound(err) {
				errs[i] = fmt.Errorf("set the weight of %s %s/%s: %w", o.route.kind.name, k.Namespace, o.route.name, err)
			}
			weights[i] = changed
		})
	}
	all.Wait()
	return weights, errs
}

// change reads the live object, unless it was just observed, and patches it, provided that
// it is still the object that was read. It repeats both if another client wrote in between.
// It writes nothing if the edit has no operations.
func (r *Router) change(ctx context.Context, k rollback.Key, o observedRoute, c change) ([]rollback.Weight, error) {
	live := o.live
	objects := r.objects.Resource(o.route.resource).Namespace(k.Namespace)
	for attempt := 1; ; attempt++ {
		var err error
		if live == nil || attempt > 1 {
			live, err = objects.Get(ctx, o.route.name, metav1.GetOptions{})
		}
		if err != nil {
			return nil, err
		}
		wanted, err := c.edit(o.route, live)
		for i := range wanted.weights {
			wanted.weights[i].FieldManager = applierOf(live)
		}
		if err != nil || len(wanted.operations) == 0 {
			return wanted.weights, err
		}
		patch, err := json.Marshal(append(unchanged(live, wanted.operations, attempt), wanted.operations...))
		if err != nil {
			return nil, err
		}
		if c.fence != nil {
			if err := c.fence(); err != nil {
				return nil, err
			}
		}
		stored, err := objects.Patch(ctx, o.route.name, types.JSONPatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
		if err == nil {
			return wanted.weights, c.verifyStored(o.route, stored)
		}
		// The API server answers a failed test operation with 422, and a lost race with 409.
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

// unchanged returns the tests under which the operations are still right: that the object is
// the one that was read, by its resourceVersion. That would never hold on an object that
// another client writes all the time: after strictPatches attempts, only the values that the
// operations replace have to be as they were read.
func unchanged(live *unstructured.Unstructured, operations []operation, attempt int) []operation {
	same := []operation{{Op: "test", Path: "/metadata/resourceVersion", Value: live.GetResourceVersion()}}
	if attempt <= strictPatches {
		return same
	}
	var values []operation
	for _, o := range operations {
		value, ok := valueAt(live.Object, o.Path)
		switch {
		case ok:
			values = append(values, operation{Op: "test", Path: o.Path, Value: value})
		case o.Path == annotationsPath:
			return same // It would replace annotations that another client has added since.
		}
	}
	return values
}

// verifyStored checks the object that the API server stored, from its response to the patch.
func (c change) verifyStored(o route, stored *unstructured.Unstructured) error {
	if !c.verify {
		return nil
	}
	again, err := c.edit(o, stored)
	if err == nil && len(again.operations) > 0 && !again.marks {
		return errOverwritten
	}
	return err
}

// applierOf returns the field manager that applies the object server-side; "" without one.
func applierOf(live *unstructured.Unstructured) string {
	for _, f := range live.GetManagedFields() {
		if f.Operation == metav1.ManagedFieldsOperationApply && f.Manager != fieldManager {
			return f.Manager
		}
	}
	return ""
}
