package traffic

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/overload"
)

// Shed sets the canary's weight to zero on every live routing object that leads to it in
// the release's namespace, marks the object, and returns the weights before and after. An
// object whose weight is zero already gets the mark alone. If one object fails, it
// goes on with the others and returns all errors joined. It leaves out objects that are
// gone. It does not check whether another backend can take over the traffic: Observe does.
//
// With an observation, Shed begins with the objects as Observe read them, and reads again
// only those that another client has changed since. It returns an error for an observation
// of another release, or of another implementation. With a nil one it finds the objects by
// the manifest.
//
// The precondition is checked after an object was read and right before it is written. So a
// deployment in between either fails the precondition or has changed the object.
func (r *Router) Shed(ctx context.Context, k rollback.Key, m rollback.Manifest, seen rollback.Observation, p rollback.Precondition) ([]rollback.Weight, error) {
	c := change{
		edit: func(o route, live *unstructured.Unstructured) (edit, error) {
			return o.kind.router.shed(live, o.canary.on(live))
		},
		verify: true,
	}.requiring(ctx, p)
	if seen == nil {
		routes, err := r.routes(ctx, k, m)
		weights, errs := r.changeEach(ctx, k, unread(routes), c)
		return slices.Concat(weights...), overload.Of(errors.Join(append(passable(weights, errs), err)...))
	}
	o, ok := seen.(observation)
	if !ok {
		return nil, fmt.Errorf("set the weights of %s to zero: the observation is a %T, not that of a Router", k, seen)
	}
	if o.key != k {
		return nil, fmt.Errorf("set the weights of %s to zero: the observation is of release %s", k, o.key)
	}
	changed, err := r.changeAll(ctx, k, o.routes, c)
	return changed, overload.Of(err)
}

// passable returns the errors without those of routes that lead only to the canary, if another
// route was shed: no route decides for the others. The weights name what was shed.
func passable(weights [][]rollback.Weight, errs []error) []error {
	shed := slices.ContainsFunc(weights, func(w []rollback.Weight) bool { return len(w) > 0 })
	return slices.DeleteFunc(slices.Clone(errs), func(err error) bool { return shed && errors.Is(err, errNoOther) })
}
