package traffic

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/upcommerce/backout/rollback"
)

// burden is what somebody would have to take over from the canary on one route.
type burden struct {
	// canary and total are what the canary and all backends together get, in any
	// unit.
	canary, total float64
	// heir is the Service that would take the canary's traffic; "" if it cannot be
	// asked. subset are the labels of those of its pods that would; nil for all.
	heir   string
	subset map[string]string
	// alone says in words that the canary is the only one, for when it is.
	alone string
}

// sight is what is seen of one route.
type sight struct {
	route   route
	live    *unstructured.Unstructured
	weights []rollback.Weight
	burdens []burden
	owner   rollback.Owner
}

// sights are those of all routes of a release; rollback.Routing carries them to
// ShedSeen.
type sights []sight

// Look reads the live routing objects that lead to the canary, and the endpoints of
// the Services that would take its traffic. It changes nothing. Requests go out
// side by side, in one round where the release declares those Services, else in two.
// What was seen is returned together with the error of what could not be read. A route
// that is gone is left out.
//
// The canary's own routing objects are read as they are stored now; endpoints and
// other routing objects as the API server has them at hand.
func (r *Router) Look(ctx context.Context, k rollback.Key, m rollback.Manifest) (rollback.Routing, error) {
	return r.look(ctx, k, m, r.stored)
}

// Glance does what Look does, for a ShedSeen that follows at once, with one request
// less where the neighbours of a route are read. A route that gives the canary traffic
// may have been read some milliseconds ago: ShedSeen reads it anew if it is another one
// by then. One that gives it none is as it is stored now, for nothing is written to it.
func (r *Router) Glance(ctx context.Context, k rollback.Key, m rollback.Manifest) (rollback.Routing, error) {
	return r.look(ctx, k, m, r.glanced)
}

// reading reads a live routing object, and the others of its kind if they are needed
// to understand it.
type reading func(ctx context.Context, k rollback.Key, o route) (*unstructured.Unstructured, []unstructured.Unstructured, error)

func (r *Router) look(ctx context.Context, k rollback.Key, m rollback.Manifest, read reading) (rollback.Routing, error) {
	seen := rollback.Routing{Load: 1, Owner: declaredOwner(k, m)}
	early := r.ask(ctx, k.Namespace, m)
	routes, err := r.routes(ctx, k, m)
	found, seeErr := r.see(ctx, k, routes, read)
	if err == nil && seeErr == nil {
		seen.Seen = found
	}
	var burdens []burden
	for _, s := range found {
		seen.Weights = append(seen.Weights, s.weights...)
		burdens = append(burdens, s.burdens...)
		seen.Owner = stronger(seen.Owner, s.owner)
	}
	for _, b := range burdens {
		if b.canary >= b.total {
			seen.NoStable = cmp.Or(seen.NoStable, b.alone)
			continue
		}
		seen.Load = max(seen.Load, b.total/(b.total-b.canary))
	}
	err = errors.Join(err, seeErr)
	if seen.NoStable != "" {
		return seen, err
	}
	unready, unreadyErr := r.unready(ctx, k.Namespace, burdens, early)
	seen.NoStable = unready
	return seen, errors.Join(err, unreadyErr)
}

// see reads the routes.
func (r *Router) see(ctx context.Context, k rollback.Key, routes []route, read reading) (sights, error) {
	seen := make(sights, len(routes))
	errs := make([]error, len(routes))
	var all sync.WaitGroup
	for i, o := range routes {
		all.Go(func() {
			live, neighbours, err := read(ctx, k, o)
			switch {
			case apierrors.IsForbidden(err):
				errs[i] = fmt.Errorf("read %s %s/%s: %w; allow backout to get and list %s", o.kind.name, k.Namespace, o.name, err, o.kind.resource)
			case err != nil && !apierrors.IsNotFound(err):
				errs[i] = fmt.Errorf("read %s %s/%s: %w", o.kind.name, k.Namespace, o.name, err)
			case err == nil:
				weights, burdens := o.kind.router.look(live, o.canary.on(live), neighbours)
				seen[i] = sight{route: o, live: live, weights: weights, burdens: burdens, owner: ownerOf(live)}
			}
		})
	}
	all.Wait()
	seen = slices.DeleteFunc(seen, func(s sight) bool { return s.live == nil })
	return seen, errors.Join(errs...)
}

// stored is the reading of what is stored now.
func (r *Router) stored(ctx context.Context, k rollback.Key, o route) (*unstructured.Unstructured, []unstructured.Unstructured, error) {
	objects := r.objects.Resource(o.resource).Namespace(k.Namespace)
	var beside errgroup.Group
	var list *unstructured.UnstructuredList
	if o.kind.neighbours {
		beside.Go(func() (err error) {
			list, err = objects.List(ctx, atHand())
			return err
		})
	}
	live, err := objects.Get(ctx, o.name, metav1.GetOptions{})
	if aroundErr := beside.Wait(); err == nil {
		err = aroundErr
	}
	if err != nil || list == nil {
		return live, nil, err
	}
	return live, around(live, list.Items), nil
}

// glanced is the reading of what the API server has at hand, where it has the
// neighbours and the object among them gives the canary traffic.
func (r *Router) glanced(ctx context.Context, k rollback.Key, o route) (*unstructured.Unstructured, []unstructured.Unstructured, error) {
	if !o.kind.neighbours {
		return r.stored(ctx, k, o)
	}
	objects := r.objects.Resource(o.resource).Namespace(k.Namespace)
	list, err := objects.List(ctx, atHand())
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
	return live, around(live, list.Items), nil
}

// around returns an object and the others of a list.
func around(live *unstructured.Unstructured, all []unstructured.Unstructured) []unstructured.Unstructured {
	neighbours := []unstructured.Unstructured{*live}
	for _, other := range all {
		if other.GetName() != live.GetName() {
			neighbours = append(neighbours, other)
		}
	}
	return neighbours
}

// atHand asks for a list as the API server has it at hand. A list as it is stored now
// waits until the API server's cache has caught up, up to a tenth of a second.
func atHand() metav1.ListOptions { return metav1.ListOptions{ResourceVersion: "0"} }
