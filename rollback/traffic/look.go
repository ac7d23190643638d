package traffic

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"

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
	weights []rollback.Weight
	burdens []burden
	owner   rollback.Owner
}

// Look reads the live routing objects that lead to the canary, and the endpoints of
// the Services that would take its traffic. It changes nothing. Requests go out
// side by side, in two rounds. What was seen is returned together with the error
// of what could not be read. A route that is gone is left out.
func (r *Router) Look(ctx context.Context, k rollback.Key, m rollback.Manifest) (rollback.Routing, error) {
	seen := rollback.Routing{Load: 1, Owner: declaredOwner(k, m)}
	routes, err := r.routes(ctx, k, m)
	sights, seeErr := r.see(ctx, k, routes)
	var burdens []burden
	for _, s := range sights {
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
	unready, unreadyErr := r.unready(ctx, k.Namespace, burdens)
	seen.NoStable = unready
	return seen, errors.Join(err, unreadyErr)
}

// see reads the routes.
func (r *Router) see(ctx context.Context, k rollback.Key, routes []route) ([]sight, error) {
	sights := make([]sight, len(routes))
	errs := make([]error, len(routes))
	var all sync.WaitGroup
	for i, o := range routes {
		all.Go(func() {
			live, neighbours, err := r.read(ctx, k, o)
			switch {
			case apierrors.IsForbidden(err):
				errs[i] = fmt.Errorf("read %s %s/%s: %w; allow backout to get and list %s", o.kind.name, k.Namespace, o.name, err, o.kind.resource)
			case err != nil && !apierrors.IsNotFound(err):
				errs[i] = fmt.Errorf("read %s %s/%s: %w", o.kind.name, k.Namespace, o.name, err)
			case err == nil:
				sights[i].weights, sights[i].burdens = o.kind.router.look(live, o.canary.on(live), neighbours)
				sights[i].owner = ownerOf(live)
			}
		})
	}
	all.Wait()
	return sights, errors.Join(errs...)
}

// read returns a live routing object, and the others of its kind if they are
// needed to understand it.
func (r *Router) read(ctx context.Context, k rollback.Key, o route) (*unstructured.Unstructured, []unstructured.Unstructured, error) {
	objects := r.objects.Resource(o.resource).Namespace(k.Namespace)
	if !o.kind.neighbours {
		live, err := objects.Get(ctx, o.name, metav1.GetOptions{})
		return live, nil, err
	}
	list, err := objects.List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, nil, err
	}
	for i := range list.Items {
		if list.Items[i].GetName() == o.name {
			return &list.Items[i], list.Items, nil
		}
	}
	return nil, nil, apierrors.NewNotFound(o.resource.GroupResource(), o.name)
}
