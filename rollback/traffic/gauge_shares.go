package traffic

import (
	"context"
	"errors"

	"github.com/upcommerce/backout/rollback"
)

// shares returns the canary's share of each of the release's routes, in percent by kind and
// name, together with an error for each route whose share is unknown. Routes of one kind and
// name in two API groups count as one, with the larger share.
func (r *Router) shares(ctx context.Context, k rollback.Key, m rollback.Manifest) (map[string]float64, error) {
	routes, err := r.routes(ctx, k, m)
	found, errs := make(map[string]float64), []error{err}
	for _, o := range routes {
		live, neighbours, err := r.stored(ctx, k, o)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for _, s := range o.kind.router.shares(live, o.canary.on(live), neighbours) {
			route := o.kind.name + "/" + s.name
			found[route] = max(found[route], s.percent)
		}
	}
	return found, errors.Join(errs...)
}
