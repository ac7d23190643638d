package traffic

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/parallel"
)

// defective is a router whose methods panic over an object that is named after them.
type defective struct{ router }

func (d defective) fail(method string, live *unstructured.Unstructured) {
	if live.GetName() == method {
		panic("a defect of " + method)
	}
}

func (d defective) observe(live *unstructured.Unstructured, c canary, neighbours []unstructured.Unstructured) ([]rollback.Weight, []load) {
	d.fail("observe", live)
	return d.router.observe(live, c, neighbours)
}

func (d defective) shed(live *unstructured.Unstructured, c canary) (edit, error) {
	d.fail("shed", live)
	return d.router.shed(live, c)
}

func (d defective) shares(live *unstructured.Unstructured, c canary, neighbours []unstructured.Unstructured) []share {
	d.fail("shares", live)
	return d.router.shares(live, c, neighbours)
}

// withDefect returns the registry with a router of HTTPRoutes that panics.
func withDefect() registry {
	kinds := newRegistry()
	group := schema.GroupKind{Group: "gateway.networking.k8s.io", Kind: "HTTPRoute"}
	k := kinds[group]
	k.router = defective{k.router}
	kinds[group] = k
	return kinds
}

// failing is a route to the canary over which a method panics.
func failing(method string) string {
	return strings.Replace(backendRefs(`[{name: shop, weight: 60}, {name: shop-canary, weight: 20}]`), "metadata: {name: shop}", "metadata: {name: "+method+"}", 1)
}

// A panic over a route, in the goroutine that reads or writes it, goes on in the step: the
// engine counts it there.
func TestAPanicOverARouteGoesOnInTheStep(t *testing.T) {
	for method, step := range map[string]func(r *Router, m rollback.Manifest) error{
		"observe": func(r *Router, m rollback.Manifest) error {
			_, err := r.Observe(t.Context(), shop(), m, rollback.Stored)
			return err
		},
		"shed": func(r *Router, m rollback.Manifest) error {
			_, err := r.Shed(t.Context(), shop(), m, nil, nil)
			return err
		},
	} {
		r := &Router{objects: cluster(t, canaryService, failing(method)), kinds: withDefect()}
		p := parallel.Try(func() {
			t.Errorf("%s returns %v: want a panic", method, step(r, manifest(t, canaryService, failing(method))))
		})
		if p == nil || p.Cause != "a defect of "+method {
			t.Errorf("%s panicked with %v", method, p)
		}
	}
}

// The endpoints are read before it is known whether a step needs them.
func TestAPanicOverEndpointsGoesOnInTheStepThatNeedsThem(t *testing.T) {
	r := &Router{kinds: newRegistry()} // it panics without a client
	p := r.prefetch(t.Context(), "shop", manifest(t, stableService))
	if parallel.Try(func() { p.of(p.services) }) == nil {
		t.Error("the panic was swallowed")
	}
}

// Another client can write a route over which the gauge panics, and every replica reads it.
func TestAPanicOverAReleaseHidesNoOtherFromTheGauge(t *testing.T) {
	others := of(t, "blog", strings.ReplaceAll(canaryService, "shop-canary", "blog-canary"), strings.ReplaceAll(ingressWeight("10"), "shop-canary", "blog-canary"))
	g := gaugeOf(t, cluster(t, append(of(t, "web", canaryService, failing("shares")), others...)...), func(rollback.Key) bool { return true })
	g.kinds = withDefect()
	for range 3 {
		g.poll(t.Context(), "shop")
	}
	got := g.scrape(t)
	if _, shown := got["web HTTPRoute/shares"]; shown || got["blog Ingress/blog-canary"] != 10 {
		t.Errorf("the weights are those of the other release: got %v", got)
	}
	if len(g.guarded) != 2 {
		t.Errorf("Show receives both releases: got %+v", g.guarded)
	}
	if log := g.log.String(); strings.Count(log, "a defect of shares") != 1 || strings.Count(log, "defective.shares") != 1 {
		t.Errorf("the log has the stack once: got %s", log)
	}
}
