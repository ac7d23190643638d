package traffic

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clienttesting "k8s.io/client-go/testing"
	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/rollback"
)

// Observe returns the weights of a live route, and whether another backend could take over.
func TestObserve(t *testing.T) {
	weights := func(kind, name, weight string) []rollback.Weight {
		return []rollback.Weight{{Kind: kind, Name: name, From: weight, To: weight}}
	}
	route := func(weight string) []rollback.Weight { return weights("HTTPRoute", "shop", weight) }
	ingress := func(weight string) []rollback.Weight { return weights("Ingress", "shop-canary", weight) }
	for name, c := range map[string]struct {
		live []string
		want rollback.Routing
	}{
		"a fifth of the traffic: a quarter more for the others": {
			[]string{backendRefs(`[{name: shop, weight: 80}, {name: shop-canary, weight: 20}]`), endpoints("shop", ready)},
			rollback.Routing{Weights: route("20"), Load: 1.25},
		},
		"60 of 100: two and a half times": {
			[]string{backendRefs(`[{name: shop, weight: 40}, {name: shop-canary, weight: 60}]`), endpoints("shop", ready)},
			rollback.Routing{Weights: route("60"), Load: 2.5},
		},
		"an absent condition means ready": {
			[]string{backendRefs(`[{name: shop, weight: 1}, {name: shop-canary, weight: 1}]`), endpoints("shop", "{}")},
			rollback.Routing{Weights: route("1"), Load: 2},
		},
		"the canary has everything": {
			[]string{backendRefs(`[{name: shop, weight: 0}, {name: shop-canary, weight: 20}]`), endpoints("shop", ready)},
			rollback.Routing{Weights: route("20"), Load: 1, NoStable: "no other backend of HTTPRoute shop has a weight"},
		},
		"no endpoint is ready": {
			[]string{backendRefs(`[{name: shop, weight: 80}, {name: shop-canary, weight: 20}]`), endpoints("shop", unready), endpoints("shop-canary", ready)},
			rollback.Routing{Weights: route("20"), Load: 1.25, NoStable: "Service shop has no ready endpoint"},
		},
		"there is no endpoint": {
			[]string{backendRefs(`[{name: shop, weight: 80}, {name: shop-canary, weight: 20}]`)},
			rollback.Routing{Weights: route("20"), Load: 1.25, NoStable: "Service shop has no ready endpoint"},
		},
		"only the backend that would take over has to be ready": {
			[]string{backendRefs(`[{name: beta, weight: 10}, {name: shop, weight: 70}, {name: shop-canary, weight: 20}]`), endpoints("beta", ready), endpoints("shop", unready)},
			rollback.Routing{Weights: route("20"), Load: 1.25, NoStable: "Service shop has no ready endpoint"},
		},
		"a zero needs no other backend": {
			[]string{backendRefs(`[{name: shop, weight: 100}, {name: shop-canary, weight: 0}]`)},
			rollback.Routing{Weights: route("0"), Load: 1},
		},
		"the route is gone": {nil, rollback.Routing{Load: 1}},
		"an Ingress for the canary": {
			[]string{ingressWeight("20"), stableIngress, endpoints("shop", ready)},
			rollback.Routing{Weights: ingress("20"), Load: 1.25},
		},
		"a weight of another total": {
			[]string{canaryIngress(`, nginx.ingress.kubernetes.io/canary-weight: "500", nginx.ingress.kubernetes.io/canary-weight-total: "1000"`), stableIngress, endpoints("shop", ready)},
			rollback.Routing{Weights: ingress("500"), Load: 2},
		},
		"an Ingress with everything for the canary": {
			[]string{ingressWeight("100"), stableIngress, endpoints("shop", ready)},
			rollback.Routing{Weights: ingress("100"), Load: 1, NoStable: "all traffic of Ingress shop-canary goes to the canary"},
		},
		"no other Ingress serves the host": {
			[]string{ingressWeight("20"), strings.ReplaceAll(stableIngress, "shop.example", "other.example")},
			rollback.Routing{Weights: ingress("20"), Load: 1, NoStable: "no other Ingress serves shop.example/"},
		},
		"the other Ingress of the host has no ready endpoint": {
			[]string{ingressWeight("20"), stableIngress, endpoints("shop", unready)},
			rollback.Routing{Weights: ingress("20"), Load: 1.25, NoStable: "Service shop has no ready endpoint"},
		},
		"a header leads to the canary, whatever the weight": {
			[]string{canaryIngress(`, nginx.ingress.kubernetes.io/canary-weight: "0", nginx.ingress.kubernetes.io/canary-by-header: x-canary`), stableIngress, endpoints("shop", ready)},
			rollback.Routing{Weights: ingress("0 and header x-canary"), Load: 1},
		},
		"a header leads to the canary, and no other endpoint is ready": {
			[]string{canaryIngress(`, nginx.ingress.kubernetes.io/canary-by-header: x-canary`), stableIngress, endpoints("shop", unready)},
			rollback.Routing{Weights: ingress("0 and header x-canary"), Load: 1, NoStable: "Service shop has no ready endpoint"},
		},
		"an Ingress of another class does not take over": {
			[]string{ingressWeight("20"), strings.Replace(stableIngress, "spec: {", "spec: {ingressClassName: internal, ", 1), endpoints("shop", ready)},
			rollback.Routing{Weights: ingress("20"), Load: 1, NoStable: "no other Ingress serves shop.example/"},
		},
		"the class is the same as a field and as an annotation": {
			[]string{
				strings.Replace(ingressWeight("20"), "spec: {", "spec: {ingressClassName: nginx, ", 1),
				strings.Replace(stableIngress, "name: shop}", "name: shop, annotations: {kubernetes.io/ingress.class: nginx}}", 1), endpoints("shop", ready),
			},
			rollback.Routing{Weights: ingress("20"), Load: 1.25},
		},
		"another class as an annotation is another one": {
			[]string{
				strings.Replace(ingressWeight("20"), "spec: {", "spec: {ingressClassName: nginx, ", 1),
				strings.Replace(stableIngress, "name: shop}", "name: shop, annotations: {kubernetes.io/ingress.class: internal}}", 1), endpoints("shop", ready),
			},
			rollback.Routing{Weights: ingress("20"), Load: 1, NoStable: "no other Ingress serves shop.example/"},
		},
		"a held weight is zero": {
			[]string{canaryIngress(`, nginx.ingress.kubernetes.io/canary-weight: "0", backout.dev/held-weight: "20"`), stableIngress},
			rollback.Routing{Weights: ingress("0"), Load: 1},
		},
		"a held weight that an operator restored is the live one": {
			[]string{canaryIngress(`, nginx.ingress.kubernetes.io/canary-weight: "5", backout.dev/held-weight: "20"`), stableIngress, endpoints("shop", ready)},
			rollback.Routing{Weights: ingress("5"), Load: 100.0 / 95},
		},
		"the Ingress is no longer a canary": {
			[]string{strings.ReplaceAll(ingressWeight("20"), `"true"`, `"false"`), stableIngress},
			rollback.Routing{Load: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := routerOn(cluster(t, c.live...))
			m := rollback.Manifest{object(t, canaryService), object(t, ingressWeight("99")), object(t, backendRefs(`[{name: shop}, {name: shop-canary}]`))}
			before := string(must(yaml.Marshal(m)))
			got, err := r.Observe(t.Context(), shop(), m, rollback.Stored)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got, ignoreObservation()); diff != "" {
				t.Errorf("observed (-want +got):\n%s", diff)
			}
			if after := string(must(yaml.Marshal(m))); after != before {
				t.Errorf("Observe must not change the manifest, which callers share: it is now\n%s", after)
			}
		})
	}
}

func TestObserveReturnsTheWorstOfSeveralRoutes(t *testing.T) {
	routes := []string{
		`{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: shop}, spec: {rules: [{backendRefs: [{name: shop, weight: 90}, {name: shop-canary, weight: 10}]}, {backendRefs: [{name: shop, weight: 1}, {name: shop-canary, weight: 3}]}]}}`,
		`{apiVersion: gateway.networking.k8s.io/v1, kind: GRPCRoute, metadata: {name: rpc}, spec: {rules: [{backendRefs: [{name: shop-rpc, weight: 1}, {name: shop-canary, weight: 1}]}]}}`,
	}
	m := rollback.Manifest{object(t, canaryService), object(t, routes[0]), object(t, routes[1])}
	r := routerOn(cluster(t, append(routes, endpoints("shop", ready), endpoints("shop-rpc", unready))...))
	got, err := r.Observe(t.Context(), shop(), m, rollback.Stored)
	if err != nil {
		t.Fatal(err)
	}
	if got.Load != 4 || got.NoStable != "" || len(got.Weights) != 2 {
		t.Errorf("got %+v; want the highest load, 4, and the weights of both rules that something can serve", got)
	}
}

// An error about a kind that backout may not read comes with what it could read.
func TestObserveWithoutARight(t *testing.T) {
	for resource, hint := range map[string]string{
		"endpointslices": "allow backout to list endpointslices.discovery.k8s.io in namespace shop",
		"httproutes":     "allow backout to get and list httproutes",
	} {
		client := cluster(t, backendRefs(`[{name: shop, weight: 80}, {name: shop-canary, weight: 20}]`), ingressWeight("20"), stableIngress)
		client.PrependReactor("*", resource, func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: resource}, "", errors.New("no"))
		})
		m := rollback.Manifest{object(t, canaryService), object(t, ingressWeight("99")), object(t, backendRefs(`[{name: shop}, {name: shop-canary}]`))}
		got, err := routerOn(client).Observe(t.Context(), shop(), m, rollback.Stored)
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), hint) {
			t.Errorf("%s forbidden: got error %v, want the hint %q", resource, err, hint)
		}
		if !got.Open() || got.Load != 1.25 {
			t.Errorf("%s forbidden: the other route is observed all the same: got %+v", resource, got)
		}
	}
}

// Observe checks the routes that it could read for a ready backend.
func TestObserveChecksTheRoutesThatItCouldRead(t *testing.T) {
	istio := virtualService + `http: [{route: [{destination: {host: shop, subset: v1}, weight: 70}, {destination: {host: shop, subset: v2}, weight: 30}]}]}}`
	m := rollback.Manifest{object(t, canaryService), object(t, subsets), object(t, istio), object(t, backendRefs(`[{name: shop}, {name: shop-canary}]`))}
	for _, c := range []struct{ forbidden, shop, want string }{
		{"virtualservices", unready, "Service shop has no ready endpoint"},
		{"virtualservices", ready, ""},
		{"pods", unready, "Service shop has no ready endpoint"},
		{"pods", ready, ""},
		{"endpointslices", ready, ""},
	} {
		client := cluster(t, istio, backendRefs(`[{name: shop, weight: 80}, {name: shop-canary, weight: 20}]`), endpoints("shop", c.shop))
		client.PrependReactor("*", c.forbidden, func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: c.forbidden}, "", errors.New("no"))
		})
		got, err := routerOn(client).Observe(t.Context(), shop(), m, rollback.Stored)
		if !apierrors.IsForbidden(err) || got.NoStable != c.want || !got.Open() || got.Load < 1.25 {
			t.Errorf("%s forbidden, Service shop %s: got %+v, %v; want %q and the other route", c.forbidden, c.shop, got, err, c.want)
		}
	}
}

func TestObserveReadsEachObjectOnce(t *testing.T) {
	client := cluster(t, backendRefs(`[{name: shop, weight: 80}, {name: shop-canary, weight: 20}]`), ingressWeight("20"), stableIngress, endpoints("shop", ready))
	m := rollback.Manifest{object(t, canaryService), object(t, ingressWeight("99")), object(t, backendRefs(`[{name: shop}, {name: shop-canary}]`))}
	if _, err := routerOn(client).Observe(t.Context(), shop(), m, rollback.Stored); err != nil {
		t.Fatal(err)
	}
	if n := len(client.Actions()); n != 4 {
		t.Errorf("two routes, the other Ingresses and the endpoints of all Services take one request each, 4 in all: got %d", n)
	}
	for _, a := range client.Actions() {
		if a.GetVerb() != "get" && a.GetVerb() != "list" {
			t.Errorf("Observe only reads: got a %s", a.GetVerb())
		}
	}
}
