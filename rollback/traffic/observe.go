package traffic

import (
	"context"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/parallel"
)

// observedRoute is a route with its live object; live is nil if it was not read.
type observedRoute struct {
	route   route
	live    *unstructured.Unstructured
	weights []rollback.Weight
	loads   []load
	owner   rollback.Owner
	// writer is who wrote the weights; "" if they are zero or that is not known.
	writer string
}

// unread returns the routes without live objects.
func unread(routes []route) []observedRoute {
	all := make([]observedRoute, len(routes))
	for i, o := range routes {
		all[i].route = o
	}
	return all
}

// observation is what Observe has read, for a Shed.
type observation struct {
	key    rollback.Key
	routes []observedRoute
}

// Release is the release whose routes were read.
func (o observation) Release() rollback.Key { return o.key }

// Observe reads the live routing objects that lead to the canary, and the endpoints of the
// Services that would take over its traffic. It changes nothing. It sends its requests in
// parallel, in one round if the release declares those Services, else in two. It returns
// what it could read together with the errors of the rest, and leaves out routes that are
// gone.
//
// Stored: the canary's own routing objects are read as they are stored now; endpoints and
// other routing objects come from the API server's cache. Recent is for a Shed that follows
// at once, and saves a request where the neighbours of a route are read: a route that gives
// the canary traffic may be some milliseconds old, because Shed reads it again if it has
// changed; a route that gives it none is read as it is stored now, because Shed writes
// nothing to it.
func (r *Router) Observe(ctx context.Context, k rollback.Key, m rollback.Manifest, c rollback.Consistency) (rollback.Routing, error) {
	read := r.stored
	if c == rollback.Recent {
		read = r.recent
	}
	routing := rollback.Routing{Load: 1, Owner: rollback.DeclaredOwner(k, m)}
	early := r.prefetch(ctx, k.Namespace, m)
	routes, missed, err := r.locate(ctx, k, m)
	routing.Missed = missed
	observed, readErr := r.readRoutes(ctx, k, routes, read)
	err = errors.Join(err, readErr)
	observed, noStable, unreadyErr := r.settle(ctx, k.Namespace, observed, early)
	if err == nil {
		routing.Observation = observation{key: k, routes: observed}
	}
	err = errors.Join(err, unreadyErr)
	routing.Missed = append(routing.Missed, kept(observed)...)
	routing.NoStable = noStable
	var writers []string
	known := false
	for _, o := range observed {
		for range o.weights {
			writers = append(writers, o.writer)
		}
		known = known || o.writer != ""
		routing.Weights = append(routing.Weights, o.weights...)
		routing.Owner = routing.Owner.Stronger(o.owner)
		for _, l := range o.loads {
			if !l.full() {
				routing.Load = max(routing.Load, l.total/(l.total-l.canary))
			}
		}
	}
	if known {
		routing.Writers = writers
	}
	return routing, err
}

// reader reads a live routing object, and the others of its kind if the kind needs them.
type reader func(ctx context.Context, k rollback.Key, o route) (*unstructured.Unstructured, []unstructured.Unstructured, error)

// readRoutes reads the routes in parallel, and leaves out those that are gone.
func (r *Router) readRoutes(ctx context.Context, k rollback.Key, routes []route, read reader) ([]observedRoute, error) {
	observed := unread(routes)
	errs := make([]error, len(routes))
	var all parallel.WaitGroup
	for i, o := range routes {
		all.Go(func() {
			live, neighbours, err := read(ctx, k, o)
			switch {
			case apierrors.IsForbidden(err):
				errs[i] = fmt.Errorf("read %s %s/%s: %w; allow backout to get and list %s", o.kind.name, k.Namespace, o.name, err, o.kind.resource)
			case err != nil && !apierrors.IsNotFound(err):
				errs[i] = fmt.Errorf("read %s %s/%s: %w", o.kind.name, k.Namespace, o.name, err)
			case err == nil:
				o.canary.sessions = o.canary.sessions || keepsSessions(live) || slices.ContainsFunc(neighbours, func(n unstructured.Unstructured) bool { return keepsSessions(&n) })
				weights, loads := o.kind.router.observe(live, o.canary.on(live), neighbours)
				observed[i] = observedRoute{route: o, live: live, weights: weights, loads: loads, owner: rollback.ObjectOwner(live.Object)}
				observed[i].writer = weightWriter(weights, live, o)
			}
		})
	}
	all.Wait()
	observed = slices.DeleteFunc(observed, func(o observedRoute) bool { return o.live == nil })
	return observed, errors.Join(errs...)
}

// weightWriter returns who wrote the weights of an object; "" if they are zero.
func weightWriter(weights []rollback.Weight, live *unstructured.Unstructured, o route) string {
	if !slices.ContainsFunc(weights, func(w rollback.Weight) bool { return w.To != zero }) {
		return ""
	}
	shed, err := o.kind.router.shed(live, o.canary.on(live))
	if err != nil {
		return ""
	}
	return writerOf(live, shed)
}

// stored reads the object as it is stored now.
func (r *Router) stored(ctx context.Context, k rollback.Key, o route) (*unstructured.Unstructured, []unstructured.Unstructured, error) {
	objects := r.objects.Resource(o.resource).Namespace(k.Namespace)
	reading := parallel.NewGroup()
	var list *unstructured.UnstructuredList
	if o.kind.neighbours {
		reading.Go(func() (err error) {
			list, err = objects.List(ctx, fromAPICache())
			return err
		})
	}
	live, err := objects.Get(ctx, o.name, metav1.GetOptions{})
	if listErr := reading.Wait(); err == nil {
		err = listErr
	}
	if err != nil || list == nil {
		return live, nil, err
	}
	return live, withNeighbours(live, list.Items), nil
}

// recent takes the object from the API server's cache if the neighbours come from there and
// the object gives the canary traffic; else it reads it as it is stored now.
func (r *Router) recent(ctx context.Context, k rollback.Key, o route) (*unstructured.Unstructured, []unstructured.Unstructured, error) {
	if !o.kind.neighbours {
		return r.stored(ctx, k, o)
	}
	objects := r.objects.Resource(o.resource).Namespace(k.Namespace)
	list, err := objects.List(ctx, fromAPICache())
	if err != nil {
		return nil, nil, err
	}
	i := slices.IndexFunc(list.Items, func(other unstructured.Unstructured) bool { return other.GetName() == o.name })
	if i >= 0 {
		live := &list.Items[i]
		wanted, err := o.kind.router.shed(live, o.canary.on(live))
		if err == nil && len(wanted.operations) > 0 {
			return live, list.Items, nil
		}
	}
	live, err := objects.Get(ctx, o.name, metav1.GetOptions{})
	if err != nil {
		return nil, nil, err
	}
	return live, withNeighbours(live, list.Items), nil
}

// withNeighbours returns an object and the others of a list.
func withNeighbours(live *unstructured.Unstructured, all []unstructured.Unstructured) []unstructured.Unstructured {
	neighbours := []unstructured.Unstructured{*live}
	for _, other := range all {
		if other.GetName() != live.GetName() {
			neighbours = append(neighbours, other)
		}
	}
	return neighbours
}
