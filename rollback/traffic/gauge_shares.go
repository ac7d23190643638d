package traffic

import (
	"context"
	"errors"

	"github.com/upcommerce/backout/rollback"
)

// liveShare is the canary's share of one route, in percent. held says that it is zero, and
// that a shed has marked the route.
type liveShare struct {
	percent float64
	held    bool
}

// shares returns the canary's share of each of the release's routes by kind and name,
// together with an error for each route whose share is unknown. Routes of one kind and name
// in two API groups count as one, with the larger share.
func (r *Router) shares(ctx context.Context, k rollback.Key, m rollback.Manifest) (map[string]liveShare, error) {
	routes, err := r.routes(ctx, k, m)
	found, errs := make(map[string]liveShare), []error{err}
	for _, o := range routes {
		live, neighbours, err := r.stored(ctx, k, o)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		shed, shedErr := o.kind.router.shed(live, o.canary.on(live))
		for _, s := range o.kind.router.shares(live, o.canary.on(live), neighbours) {
			route := o.kind.name + "/" + s.name
			known, twice := found[route]
			held := shedErr == nil && shed.atZero() && (!twice || known.held)
			found[route] = liveShare{percent: max(known.percent, s.percent), held: held}
		}
	}
	return found, errors.Join(errs...)
}
