// Package traffic sets the canary's weight on live routing objects. Each kind of
// router has one file, which says how the weight stands in its objects; the
// others find the objects, look at them and patch them:
//
//	canary.go   which side of the traffic is the canary, by the release's manifest
//	routes.go   the routing objects that lead to it
//	look.go     Look: what is, and who would take the canary's traffic
//	traffic.go  Shed and Raise
//	mark.go     what a shed notes on the object, for the raise
//	hold.go     Hold: zero in what Helm is about to write
//	patch.go    one write: read, test, patch, read back
//	gauge.go    the live weights as a metric
//
// What a routing object is, and which side of it is the canary, is read from the
// release's stored manifest and from the release's namespace. No label of an
// alert names an object.
package traffic

import (
	"context"
	"errors"
	"fmt"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"

	"github.com/upcommerce/backout/rollback"
)

// Options are the parts of a Router.
type Options struct {
	// Config reaches the API server.
	Config *rest.Config
	// Fence is asked right before every write that gives the canary traffic back;
	// an error keeps it from being sent. Nil never refuses. To take traffic from
	// the canary needs no leave: any replica may.
	Fence func() error
}

// Router sets the canary's weight on live routing objects. It is safe for
// concurrent use.
type Router struct {
	objects dynamic.Interface
	fence   func() error
}

// New returns a Router. It asks nothing of the API server.
func New(o Options) (*Router, error) {
	objects, err := dynamic.NewForConfig(o.Config)
	if err != nil {
		return nil, fmt.Errorf("make a dynamic client: %w", err)
	}
	return &Router{objects: objects, fence: o.Fence}, nil
}

// Shed sets the canary's weight to zero on every live routing object that leads
// to it in the release's namespace, and returns the weights as they were and are.
// It goes on when one object fails, and returns all errors joined. An object that
// is gone routes nothing and is left out. It does not ask whether anybody else
// can take the traffic: Look does.
//
// Right before each write, after the object was read, it asks still, and writes
// nothing if that returns an error; nil always agrees. So what somebody deploys
// meanwhile is either seen by still, or has changed the object since it was read.
func (r *Router) Shed(ctx context.Context, k rollback.Key, m rollback.Manifest, still func(context.Context) error) ([]rollback.Weight, error) {
	routes, err := r.routes(ctx, k, m)
	return r.each(ctx, k, unseen(routes), toZero().asking(ctx, still), err)
}

// ShedSeen does what Shed does, on the routes that Look has found, and begins with
// the objects as Look has read them: whoever has changed one since makes it be read
// anew.
func (r *Router) ShedSeen(ctx context.Context, k rollback.Key, seen rollback.Routing, still func(context.Context) error) ([]rollback.Weight, error) {
	found, ok := seen.Seen.(sights)
	if !ok {
		return nil, errors.New("set the weights to zero: the routes were not looked at")
	}
	return r.each(ctx, k, found, toZero().asking(ctx, still), nil)
}

// toZero is the change that a shed makes.
func toZero() change {
	return change{
		of: func(o route, live *unstructured.Unstructured) (edit, error) {
			return o.kind.router.shed(live, o.canary.on(live))
		},
		back: true,
	}
}

// Raise sets the live weights to what the manifest declares and returns them; on
// a route that the manifest does not declare, to what the shed found. It undoes
// what Shed did, down to the ownership of the fields, so that whoever applies the
// objects meets no conflict; it is for the caller to know that the pods are ready.
// It writes nothing that the fence refuses, nor, as Shed, what still refuses.
func (r *Router) Raise(ctx context.Context, k rollback.Key, m rollback.Manifest, still func(context.Context) error) ([]rollback.Weight, error) {
	c := change{
		of: func(o route, live *unstructured.Unstructured) (edit, error) {
			return o.kind.router.raise(live, o.declared, o.canary.on(live))
		},
		fence: r.fence, disown: true,
	}
	routes, err := r.routes(ctx, k, m)
	return r.each(ctx, k, unseen(routes), c.asking(ctx, still), err)
}

// unseen are routes of which no live object was read.
func unseen(routes []route) sights {
	all := make(sights, len(routes))
	for i, o := range routes {
		all[i].route = o
	}
	return all
}

// each makes the change on every canary route, side by side. It returns all errors,
// that of finding the routes among them.
func (r *Router) each(ctx context.Context, k rollback.Key, routes sights, c change, err error) ([]rollback.Weight, error) {
	weights := make([][]rollback.Weight, len(routes))
	errs := make([]error, len(routes), len(routes)+1)
	var all sync.WaitGroup
	for i, s := range routes {
		o := s.route
		all.Go(func() {
			set, err := r.set(ctx, k, s, c)
			if err == nil && c.disown {
				_, err = r.set(ctx, k, sight{route: o}, change{of: disowned, fence: c.fence})
			}
			if err != nil && !apierrors.IsNotFound(err) {
				errs[i] = fmt.Errorf("set the weight of %s %s/%s: %w", o.kind.name, k.Namespace, o.name, err)
			}
			weights[i] = set
		})
	}
	all.Wait()
	var told []rollback.Weight
	for _, w := range weights {
		told = append(told, w...)
	}
	return told, errors.Join(append(errs, err)...)
}
