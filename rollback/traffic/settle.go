package traffic

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/upcommerce/backout/rollback"
)

// settle decides, on what is ready, which parts of the routes a shed leaves alone. No part
// decides for the others: if nothing could serve one, and something could serve another, a
// route with a weight for each part keeps that of the first. Where one weight is that of all
// parts, it goes to zero for all of them. noStable says why nothing can be shed; "" if something
// can, or if nothing has a weight.
func (r *Router) settle(ctx context.Context, namespace string, observed []observedRoute, early *prefetch) (settled []observedRoute, noStable string, err error) {
	var loads []load
	for _, o := range observed {
		loads = append(loads, o.loads...)
	}
	found, err := r.readinessOf(ctx, namespace, loads, early)
	able := slices.ContainsFunc(observed, heldAtZero)
	full, unready := "", ""
	for i, l := range loads {
		able = able || !l.full() && found[i] == (readiness{})
		if l.full() {
			full = cmp.Or(full, l.noStable)
		}
		unready = cmp.Or(unready, found[i].why)
	}
	if !able {
		return observed, cmp.Or(full, unready), err
	}
	settled = slices.Clone(observed)
	for i := range settled {
		n := len(settled[i].loads)
		noStable = cmp.Or(noStable, settled[i].leave(found[:n]))
		found = found[n:]
	}
	return settled, noStable, err
}

// heldAtZero reports whether a shed has set a weight of the route to zero.
func heldAtZero(o observedRoute) bool {
	return marked(o.live) && slices.ContainsFunc(o.weights, func(w rollback.Weight) bool { return w.To == zero })
}

// leave notes which parts of the route a shed leaves alone, by the readiness of their loads. It
// returns the reason if the route's only weight cannot go to zero.
func (o *observedRoute) leave(found []readiness) string {
	left, served, stuck := make(map[string]string), false, ""
	for i, l := range o.loads {
		// A Service takes over all of one weight, too, if it is ready.
		if found[i].why == "" && (!l.full() || !l.apart && l.takeover != "") {
			served = true
			continue
		}
		left[l.label] = cmp.Or(found[i].why, l.noStable)
		if !l.apart && !l.unserved {
			stuck = cmp.Or(stuck, left[l.label])
		}
	}
	if len(left) == 0 {
		return ""
	}
	if stuck != "" && !served {
		return stuck
	}
	o.loads = slices.DeleteFunc(slices.Clone(o.loads), func(l load) bool { return left[l.label] != "" })
	o.route.canary.left = left
	o.weights, _ = o.route.kind.router.observe(o.live, o.route.canary.on(o.live), nil)
	return ""
}

// named adds to a weight's name why parts of its object have no other backend.
func (c canary) named(w rollback.Weight) rollback.Weight {
	var reasons []string
	for _, why := range c.left {
		if !slices.Contains(reasons, why) {
			reasons = append(reasons, why)
		}
	}
	if slices.Sort(reasons); len(reasons) > 0 {
		w.Name += fmt.Sprintf(" (%s)", strings.Join(reasons, ", "))
	}
	return w
}
