package traffic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/upcommerce/backout/rollback"
)

// fieldManager names backout in the managed fields of what it patches.
const fieldManager = "backout"

// heldAnnotation is backout's own: the weights that a shed found. It stands on a
// routing object for as long as its weight is held at zero.
const heldAnnotation = "backout.dev/held-weight"

// Bounds on repeating a patch whose object was changed meanwhile; see unchanged for
// the strict ones.
const (
	maxPatches    = 10
	strictPatches = 4
	patchInterval = 5 * time.Millisecond
)

// nothingOwned is the managed fields of who owns no field that is there.
const nothingOwned = `{"f:metadata":{"f:annotations":{"f:` + heldAnnotation + `":{}}}}`

// errPutBack says that a write was accepted and yet did not stay.
var errPutBack = errors.New("the API server accepted the weight and stored another one: look for an admission webhook that writes it")

// edit is what is to be written to one routing object.
type edit struct {
	// weights are the canary's, before and after.
	weights    []rollback.Weight
	operations []operation
}

// change is what is wanted of live routing objects.
type change struct {
	// of returns the edit of one; no operation if it is as wanted.
	of func(o route, live *unstructured.Unstructured) (edit, error)
	// fence is asked before each write, if not nil.
	fence func() error
	// back demands that what was stored needs no further edit.
	back bool
	// disown gives up the ownership of the fields afterwards.
	disown bool
}

// asking returns the change with still asked before each write, too; nil adds
// nothing.
func (c change) asking(ctx context.Context, still func(context.Context) error) change {
	if still == nil {
		return c
	}
	fence := c.fence
	c.fence = func() error {
		if fence != nil {
			if err := fence(); err != nil {
				return err
			}
		}
		return still(ctx)
	}
	return c
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

// set reads the live object, unless that was done a moment ago, and writes what the
// change asks for, provided that the object is still the one that was read. It
// repeats both when somebody else wrote in between. Nothing is written if the change
// asks for nothing.
func (r *Router) set(ctx context.Context, k rollback.Key, s sight, c change) ([]rollback.Weight, error) {
	o, live := s.route, s.live
	objects := r.objects.Resource(o.resource).Namespace(k.Namespace)
	for attempt := 1; ; attempt++ {
		var err error
		if live == nil || attempt > 1 {
			live, err = objects.Get(ctx, o.name, metav1.GetOptions{})
		}
		if err != nil {
			return nil, err
		}
		wanted, err := c.of(o, live)
		for i := range wanted.weights {
			wanted.weights[i].Applier = applierOf(live)
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
		stored, err := objects.Patch(ctx, o.name, types.JSONPatchType, patch, metav1.PatchOptions{FieldManager: fieldManager})
		if err == nil {
			return wanted.weights, c.stayed(o, stored)
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

// unchanged returns what has to hold for the operations to be right still: that the
// object is the one that was read, down to its resourceVersion. On an object that
// somebody writes all the time this would never hold; there, from some attempt on,
// only what is to be written has to be as it was read.
func unchanged(live *unstructured.Unstructured, operations []operation, attempt int) []operation {
	same := []operation{{Op: "test", Path: "/metadata/resourceVersion", Value: live.GetResourceVersion()}}
	if attempt <= strictPatches {
		return same
	}
	var values []operation
	for _, o := range operations {
		value, ok := at(live.Object, o.Path)
		switch {
		case ok:
			values = append(values, operation{Op: "test", Path: o.Path, Value: value})
		case o.Path == annotationsPath:
			return same // It would replace what somebody has added meanwhile.
		}
	}
	return values
}

// at returns what stands at a JSON Pointer.
func at(node any, pointer string) (any, bool) {
	for part := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		part = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
		switch n := node.(type) {
		case map[string]any:
			value, ok := n[part]
			if !ok {
				return nil, false
			}
			node = value
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(n) {
				return nil, false
			}
			node = n[i]
		default:
			return nil, false
		}
	}
	return node, true
}

// stayed reads back what the API server stored, from its answer to the patch.
func (c change) stayed(o route, stored *unstructured.Unstructured) error {
	if !c.back {
		return nil
	}
	again, err := c.of(o, stored)
	if err == nil && len(again.operations) > 0 {
		return errPutBack
	}
	return err
}

// applierOf returns the field manager that applies the object server-side; "" if none
// does.
func applierOf(live *unstructured.Unstructured) string {
	for _, f := range live.GetManagedFields() {
		if f.Operation == metav1.ManagedFieldsOperationApply && f.Manager != fieldManager {
			return f.Manager
		}
	}
	return ""
}

// disowned returns what takes backout out of the object's managed fields. While it
// stands there, a server-side apply that wants another weight is refused as a
// conflict, and Helm 4 applies in that way: right for as long as the weight is held,
// and wrong for every upgrade after that.
// https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts
func disowned(_ route, live *unstructured.Unstructured) (edit, error) {
	var e edit
	if _, held := live.GetAnnotations()[heldAnnotation]; held {
		return e, nil // Another canary still is.
	}
	fields := live.GetManagedFields()
	others := slices.ContainsFunc(fields, func(f metav1.ManagedFieldsEntry) bool { return f.Manager != fieldManager })
	for i, f := range slices.Backward(fields) {
		path := fmt.Sprintf("/metadata/managedFields/%d", i)
		switch {
		case f.Manager != fieldManager:
		case others:
			e.operations = append(e.operations, operation{Op: "remove", Path: path})
		case f.FieldsV1 == nil || f.FieldsV1.GetRawString() != nothingOwned:
			// An object without any owner is one that somebody has written before the
			// first apply, which is another conflict.
			e.operations = append(e.operations, operation{Op: "replace", Path: path + "/fieldsV1", Value: json.RawMessage(nothingOwned)})
		}
	}
	return e, nil
}

// annotate returns what sets one annotation. An object without annotations gets
// its first one only: more than one have to come from annotateAll.
func annotate(live *unstructured.Unstructured, name, value string) []operation {
	return annotateAll(live, map[string]string{name: value})
}

// annotateAll returns what sets the annotations.
func annotateAll(live *unstructured.Unstructured, values map[string]string) []operation {
	if live.GetAnnotations() == nil {
		return []operation{{Op: "add", Path: annotationsPath, Value: values}}
	}
	var operations []operation
	for _, name := range sorted(values) {
		operations = append(operations, operation{Op: "add", Path: annotationPath(name), Value: values[name]})
	}
	return operations
}

// unannotate returns what takes away those of the annotations that are there.
func unannotate(live *unstructured.Unstructured, names ...string) []operation {
	var operations []operation
	for _, name := range names {
		if _, ok := live.GetAnnotations()[name]; ok {
			operations = append(operations, operation{Op: "remove", Path: annotationPath(name)})
		}
	}
	return operations
}

const annotationsPath = "/metadata/annotations"

// annotationPath is the JSON Pointer (RFC 6901) of an annotation.
func annotationPath(name string) string {
	return annotationsPath + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}
