package traffic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/overload"
)

// nothingOwned are the managed fields of a manager that owns no existing field.
const nothingOwned = `{"f:metadata":{"f:annotations":{"f:` + heldAnnotation + `":{}}}}`

// Restore sets the live weights to those that the manifest declares and returns them; on a
// route that the manifest does not declare, to those that the shed found. It undoes what
// Shed did, including the ownership of fields, so that the next client that applies the
// objects meets no conflict. It does not check whether the canary's pods are ready: the
// caller does. It writes nothing if the fence or the precondition refuses.
func (r *Router) Restore(ctx context.Context, k rollback.Key, m rollback.Manifest, p rollback.Precondition) ([]rollback.Weight, error) {
	return r.restore(ctx, k, m, p, restored)
}

// RestoreHeld is Restore for those live objects alone that carry the mark of a shed.
func (r *Router) RestoreHeld(ctx context.Context, k rollback.Key, m rollback.Manifest, p rollback.Precondition) ([]rollback.Weight, error) {
	return r.restore(ctx, k, m, p, func(o route, live *unstructured.Unstructured) (edit, error) {
		if !marked(live) {
			return edit{}, nil
		}
		return restored(o, live)
	})
}

// Held reports whether any live object that leads to the canary carries the mark of a shed.
func (r *Router) Held(ctx context.Context, k rollback.Key, m rollback.Manifest) (bool, error) {
	var held atomic.Bool
	routes, err := r.routes(ctx, k, m)
	_, readErr := r.changeAll(ctx, k, unread(routes), change{edit: func(_ route, live *unstructured.Unstructured) (edit, error) {
		if marked(live) {
			held.Store(true)
		}
		return edit{}, nil // nothing is written
	}})
	return held.Load(), errors.Join(readErr, err)
}

// Unmark removes the marks of a shed from the live objects on which another client has given
// the canary a weight, and backout's ownership of their fields. It writes no weight.
func (r *Router) Unmark(ctx context.Context, k rollback.Key, m rollback.Manifest) error {
	_, err := r.restore(ctx, k, m, nil, func(o route, live *unstructured.Unstructured) (edit, error) {
		shed, err := o.kind.router.shed(live, o.canary.on(live))
		if err == nil && shed.atZero() && r.resumed(ctx, k, o, live) {
			return restored(o, live)
		}
		if err != nil || shed.marks || shed.atZero() || !marked(live) {
			return edit{}, nil //nolint:nilerr // A route that no shed can change is not marked for one.
		}
		operations, err := o.kind.router.unmark(live, o.canary.on(live))
		return edit{operations: operations}, err
	})
	return err
}

func restored(o route, live *unstructured.Unstructured) (edit, error) {
	return o.kind.router.restore(live, o.declared, o.canary.on(live))
}

// marked reports whether a canary's weight is held at zero on the object.
func marked(live *unstructured.Unstructured) bool {
	_, held := live.GetAnnotations()[heldAnnotation]
	return held
}

func (r *Router) restore(ctx context.Context, k rollback.Key, m rollback.Manifest, p rollback.Precondition, edit func(route, *unstructured.Unstructured) (edit, error)) ([]rollback.Weight, error) {
	c := change{edit: edit, fence: r.fence, then: disown}.requiring(ctx, p)
	routes, err := r.routes(ctx, k, m)
	changed, changeErr := r.changeAll(ctx, k, unread(routes), c)
	return changed, overload.Of(errors.Join(changeErr, err))
}

// disown returns the edit that removes backout from the object's managed fields. While it is
// there, a server-side apply of another weight, as Helm 4 sends it, is refused as a
// conflict: right for as long as the weight is held, and wrong for every upgrade after that.
// https://kubernetes.io/docs/reference/using-api/server-side-apply/#conflicts
func disown(_ route, live *unstructured.Unstructured) (edit, error) {
	var e edit
	if marked(live) {
		return e, nil // Another canary is still held on the object.
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
			// The API server treats an object without any manager as written before the first
			// apply, which is another conflict.
			e.operations = append(e.operations, operation{Op: "replace", Path: path + "/fieldsV1", Value: json.RawMessage(nothingOwned)})
		}
	}
	return e, nil
}
