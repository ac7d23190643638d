package traffic

import (
	"strings"
	"testing"

	"github.com/upcommerce/backout/rollback"
)

// No part of a route decides for the others: those that something can serve go to zero, and the
// weights name the rest. Each case is observed, shed twice, observed again, and restored.
func TestNoPartOfARouteDecidesForTheOthers(t *testing.T) {
	const (
		unmatched = `{backendRefs: [{name: shop, weight: 80}, {name: shop-canary, weight: 20}]}`
		matched   = `{matches: [{headers: [{name: x-tester, value: "yes"}]}], backendRefs: %}`
		istioRule = `{route: [{destination: {host: shop}, weight: 80}, {destination: {host: shop-canary}, weight: 20}]}`
	)
	header := func(refs string) string { return strings.Replace(matched, "%", refs, 1) }
	route := func(rules ...string) string {
		return `{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: shop}, spec: {rules: [` + strings.Join(rules, ", ") + `]}}`
	}
	beta := strings.NewReplacer("HTTPRoute, metadata: {name: shop}", "HTTPRoute, metadata: {name: beta}")
	for name, c := range map[string]struct {
		routes   []string
		services []string // ready ones
		load     float64
		changed  string
		after    string // the weights of the first route after the shed
	}{
		"a rule on a header with everything for the canary is taken over as the rule for all users is": {
			[]string{route(header(`[{name: shop, weight: 0}, {name: shop-canary, weight: 100}]`), unmatched)},
			[]string{"shop"},
			1.25,
			"HTTPRoute/shop rule 1 100 -> 0, HTTPRoute/shop rule 2 20 -> 0", "100 0 | 100 0",
		},
		"a rule on a header does not measure the load": {
			[]string{route(header(`[{name: shop, weight: 1}, {name: shop-canary, weight: 99}]`), unmatched)},
			[]string{"shop"},
			1.25,
			"HTTPRoute/shop rule 1 99 -> 0, HTTPRoute/shop rule 2 20 -> 0", "100 0 | 100 0",
		},
		"such a rule whose other backend serves no other rule is left alone": {
			[]string{route(header(`[{name: old, weight: 0}, {name: shop-canary, weight: 100}]`), unmatched)},
			[]string{"shop"},
			1.25,
			"HTTPRoute/shop rule 2 (rule 1 leads only to the canary and is left alone) 20 -> 0", "0 100 | 100 0",
		},
		"a rule whose other backend is not ready is left alone": {
			[]string{route(unmatched, `{backendRefs: [{name: admin, weight: 1}, {name: shop-canary, weight: 1}]}`)},
			[]string{"shop"},
			1.25,
			"HTTPRoute/shop rule 1 (rule 2 is left alone: Service admin has no ready endpoint) 20 -> 0", "100 0 | 1 1",
		},
		"another route that leads only to the canary is left alone": {
			[]string{route(unmatched), beta.Replace(route(`{backendRefs: [{name: old, weight: 0}, {name: shop-canary, weight: 100}]}`))},
			[]string{"shop"},
			1.25,
			"HTTPRoute/shop 20 -> 0, HTTPRoute/beta (is left alone: no other backend of HTTPRoute beta has a weight) 100 -> 100", "100 0",
		},
		"Istio: a match on a header": {
			[]string{virtualService + `http: [{match: [{headers: {x-tester: {exact: "yes"}}}], route: [{destination: {host: shop}, weight: 0}, {destination: {host: shop-canary}, weight: 100}]}, ` + istioRule + `]}}`},
			[]string{"shop"},
			1.25, "VirtualService/shop http 1 100 -> 0, VirtualService/shop http 2 20 -> 0", "100 0 | 100 0",
		},
		"Contour: a condition on a header": {
			[]string{httpProxy + `{routes: [{conditions: [{prefix: /}, {header: {name: x-tester, present: true}}], services: [{name: shop, weight: 2}, {name: shop-canary, weight: 98}]}, {services: [{name: shop, weight: 80}, {name: shop-canary, weight: 20}]}]}}`},
			[]string{"shop"},
			1.25, "HTTPProxy/shop route 1 98 -> 0, HTTPProxy/shop route 2 20 -> 0", "100 0 | 100 0",
		},
		"Contour: the requests without a header are most of them": {
			[]string{httpProxy + `{routes: [{conditions: [{header: {name: x-tester, notpresent: true}}], services: [{name: shop, weight: 25}, {name: shop-canary, weight: 75}]}, {services: [{name: shop, weight: 80}, {name: shop-canary, weight: 20}]}]}}`},
			[]string{"shop"},
			4, "HTTPProxy/shop route 1 75 -> 0, HTTPProxy/shop route 2 20 -> 0", "100 0 | 100 0",
		},
		"Traefik: a matcher on a header": {
			[]string{"{apiVersion: traefik.io/v1alpha1, kind: IngressRoute, metadata: {name: shop}, spec: {routes: [{match: 'Host(`a`) && Header(`x-tester`, `yes`)', services: [{name: shop, weight: 0}, {name: shop-canary, weight: 1}]}, {match: 'Host(`a`)', services: [{name: shop, weight: 4}, {name: shop-canary, weight: 1}]}]}}"},
			[]string{"shop"},
			1.25, "IngressRoute/shop route 1 1 -> 0, IngressRoute/shop route 2 1 -> 0", "1 0 | 5 0",
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := manifest(t, append(c.routes, canaryService)...)
			live := c.routes
			for _, s := range c.services {
				live = append(live, endpoints(s, ready))
			}
			client := cluster(t, live...)
			r := routerOn(client)
			first := object(t, c.routes[0])
			before := listWeights(liveObject(t, client, first).Object)
			seen, err := r.Observe(t.Context(), shop(), m, rollback.Stored)
			if err != nil || seen.NoStable != "" || seen.Load != c.load || !seen.Open() {
				t.Errorf("observed no stable %q, load %v, weights %v, %v; want the load %v and nothing against a shed", seen.NoStable, seen.Load, seen.Weights, err, c.load)
			}
			for _, observation := range []rollback.Observation{seen.Observation, nil} {
				changed, err := r.Shed(t.Context(), shop(), m, observation, nil)
				if err != nil {
					t.Fatal(err)
				}
				if got := rollback.FormatWeights(changed); observation != nil && got != c.changed {
					t.Errorf("shed: got %q, want %q", got, c.changed)
				}
				if got := listWeights(liveObject(t, client, first).Object); got != c.after {
					t.Errorf("after the shed the weights are %q, want %q", got, c.after)
				}
				again, err := r.Observe(t.Context(), shop(), m, rollback.Stored)
				if err != nil || again.Open() || again.NoStable != "" {
					t.Errorf("a part that is left alone is no weight that another client gave: got %v, %q, %v", again.Weights, again.NoStable, err)
				}
			}
			hold, err := r.Hold(t.Context(), shop(), m)
			written := object(t, c.routes[0])
			if hold(written); err != nil || listWeights(written) != c.after {
				t.Errorf("Helm writes %q, %v; want %q", listWeights(written), err, c.after)
			}
			if _, err := r.Restore(t.Context(), shop(), m, nil); err != nil {
				t.Fatal(err)
			}
			o := liveObject(t, client, first)
			if got := listWeights(o.Object); got != before || o.GetAnnotations()[heldAnnotation] != "" {
				t.Errorf("restored to %q, held %q; want %q and nothing held", got, o.GetAnnotations()[heldAnnotation], before)
			}
		})
	}
}

// Without an observation, too, an object that leads only to the canary does not stop the others.
func TestShedWithoutAnObservationGoesOn(t *testing.T) {
	alone := strings.Replace(backendRefs(`[{name: shop, weight: 0}, {name: shop-canary, weight: 20}]`), "{name: shop}", "{name: beta}", 1)
	split := backendRefs(`[{name: shop, weight: 80}, {name: shop-canary, weight: 20}]`)
	changed, err := routerOn(cluster(t, alone, split)).Shed(t.Context(), shop(), manifest(t, canaryService, alone, split), nil, nil)
	if got := rollback.FormatWeights(changed); err != nil || got != "HTTPRoute/shop 20 -> 0" {
		t.Errorf("got %q, %v; want the other route shed", got, err)
	}
}

// A route of which no part can be served is refused, whatever its rules are.
func TestNoPartCanBeServed(t *testing.T) {
	for name, c := range map[string]struct{ rules, want string }{
		"every rule leads only to the canary": {
			`[{backendRefs: [{name: shop, weight: 0}, {name: shop-canary, weight: 1}]}, {backendRefs: [{name: shop, weight: 0}, {name: shop-canary, weight: 1}]}]`,
			"no other backend of HTTPRoute shop rule 1 has a weight",
		},
		"the rule for all users does, and the other one has no traffic for the canary": {
			`[{backendRefs: [{name: old, weight: 0}, {name: shop-canary, weight: 1}]}, {backendRefs: [{name: shop, weight: 1}, {name: shop-canary, weight: 0}]}]`,
			"no other backend of HTTPRoute shop rule 1 has a weight",
		},
		"nothing is ready": {
			`[{backendRefs: [{name: old, weight: 1}, {name: shop-canary, weight: 1}]}, {backendRefs: [{name: older, weight: 1}, {name: shop-canary, weight: 1}]}]`,
			"Service old has no ready endpoint",
		},
	} {
		r := routerOn(cluster(t, strings.Replace(backendRefs("[]"), "[{backendRefs: []}]", c.rules, 1), endpoints("shop", ready)))
		m := rollback.Manifest{object(t, canaryService), object(t, strings.Replace(backendRefs("[]"), "[{backendRefs: []}]", c.rules, 1))}
		if got, err := r.Observe(t.Context(), shop(), m, rollback.Stored); err != nil || got.NoStable != c.want || !got.Open() {
			t.Errorf("%s: got %q, %v, weights %v; want %q", name, got.NoStable, err, got.Weights, c.want)
		}
	}
}

// A Service that is a name outside of the cluster has no endpoints.
func TestAnExternalNameTakesOver(t *testing.T) {
	external := `{apiVersion: v1, kind: Service, metadata: {name: shop}, spec: {type: ExternalName, externalName: shop.example.com}}`
	for _, routes := range [][]string{
		{backendRefs(`[{name: shop, weight: 80}, {name: shop-canary, weight: 20}]`)},
		{ingressWeight("20"), stableIngress},
	} {
		m := manifest(t, canaryService, routes[0])
		r := routerOn(cluster(t, append(routes, external)...))
		if got, err := r.Observe(t.Context(), shop(), m, rollback.Stored); err != nil || got.NoStable != "" || got.Load != 1.25 {
			t.Errorf("got %q, load %v, %v; want nothing against a shed", got.NoStable, got.Load, err)
		}
	}
}

// One weight of a canary Ingress is that of all its hosts and paths.
func TestNoLocationOfAnIngressDecidesForTheOthers(t *testing.T) {
	ingress := func(name, weight, spec string) string {
		if weight != "" {
			weight = `, annotations: {nginx.ingress.kubernetes.io/canary: "true", nginx.ingress.kubernetes.io/canary-weight: "` + weight + `"}`
		}
		return `{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: ` + name + weight + `}, spec: {` + spec + `}}`
	}
	path := func(path, service string) string {
		return `{` + path + `backend: {service: {name: ` + service + `}}}`
	}
	rule := func(host string, paths ...string) string {
		return `{host: ` + host + `, http: {paths: [` + strings.Join(paths, ", ") + `]}}`
	}
	canaryRoot, root := path("path: /, ", "shop-canary"), path("path: /, ", "shop")
	for name, c := range map[string]struct {
		live    []string
		changed string
	}{
		"a host that no other Ingress serves": {
			[]string{ingress("shop-canary", "20", "rules: ["+rule("a.example", canaryRoot)+", "+rule("b.example", canaryRoot)+"]"), ingress("shop", "", "rules: ["+rule("a.example", root)+"]")},
			"Ingress/shop-canary (no other Ingress serves b.example/) 20 -> 0",
		},
		"a path that no other Ingress serves": {
			[]string{ingress("shop-canary", "20", "rules: ["+rule("a.example", canaryRoot, path("path: /new, ", "shop-canary"))+"]"), ingress("shop", "", "rules: ["+rule("a.example", root)+"]")},
			"Ingress/shop-canary (no other Ingress serves a.example/new) 20 -> 0",
		},
		"a path whose other backend is not ready": {
			[]string{ingress("shop-canary", "20", "rules: ["+rule("a.example", canaryRoot, path("path: /admin, ", "shop-canary"))+"]"), ingress("shop", "", "rules: ["+rule("a.example", root, path("path: /admin, ", "admin"))+"]")},
			"Ingress/shop-canary (Service admin has no ready endpoint) 20 -> 0",
		},
		"no path in the canary Ingress": {
			[]string{ingress("shop-canary", "20", "rules: ["+rule("a.example", path("", "shop-canary"))+"]"), ingress("shop", "", "rules: ["+rule("a.example", root)+"]")},
			"Ingress/shop-canary 20 -> 0",
		},
		"no path in the other Ingress": {
			[]string{ingress("shop-canary", "20", "rules: ["+rule("a.example", canaryRoot)+"]"), ingress("shop", "", "rules: ["+rule("a.example", path("", "shop"))+"]")},
			"Ingress/shop-canary 20 -> 0",
		},
		"a default backend serves the hosts of its Ingress": {
			[]string{ingress("shop-canary", "20", "rules: ["+rule("a.example", canaryRoot)+"]"), ingress("shop", "", "defaultBackend: {service: {name: shop}}, rules: [{host: a.example}]")},
			"Ingress/shop-canary 20 -> 0",
		},
		"two default backends": {
			[]string{ingress("shop-canary", "20", "defaultBackend: {service: {name: shop-canary}}"), ingress("shop", "", "defaultBackend: {service: {name: shop}}")},
			"Ingress/shop-canary 20 -> 0",
		},
		"the other Ingress has the default class": {
			[]string{ingress("shop-canary", "20", "ingressClassName: nginx, rules: ["+rule("a.example", canaryRoot)+"]"), ingress("shop", "", "rules: ["+rule("a.example", root)+"]")},
			"Ingress/shop-canary 20 -> 0",
		},
		"a second canary Ingress with a host that no other Ingress serves": {
			[]string{
				ingress("shop-canary", "20", "rules: ["+rule("a.example", canaryRoot)+"]"), ingress("shop", "", "rules: ["+rule("a.example", root)+"]"),
				ingress("shop-new", "20", "rules: ["+rule("b.example", canaryRoot)+"]"),
			},
			"Ingress/shop-canary 20 -> 0, Ingress/shop-new (no other Ingress serves b.example/) 20 -> 0",
		},
		"a second canary Ingress with everything for the canary": {
			[]string{
				ingress("shop-canary", "20", "rules: ["+rule("a.example", canaryRoot)+"]"), ingress("shop", "", "rules: ["+rule("a.example", root)+", "+rule("b.example", root)+"]"),
				ingress("shop-new", "100", "rules: ["+rule("b.example", canaryRoot)+"]"),
			},
			"Ingress/shop-canary 20 -> 0, Ingress/shop-new 100 -> 0",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var declared []string
			for _, o := range c.live {
				if strings.Contains(o, "canary-weight") {
					declared = append(declared, o)
				}
			}
			m := manifest(t, append(declared, canaryService)...)
			r := routerOn(cluster(t, append(c.live, endpoints("shop", ready))...))
			seen, err := r.Observe(t.Context(), shop(), m, rollback.Stored)
			if err != nil || seen.NoStable != "" || seen.Load != 1.25 {
				t.Errorf("observed %q, load %v, %v; want nothing against a shed", seen.NoStable, seen.Load, err)
			}
			changed, err := r.Shed(t.Context(), shop(), m, seen.Observation, nil)
			if got := rollback.FormatWeights(changed); err != nil || got != c.changed {
				t.Errorf("got %q, %v; want %q", got, err, c.changed)
			}
			if again, err := r.Observe(t.Context(), shop(), m, rollback.Stored); err != nil || again.Open() {
				t.Errorf("after the shed every weight is zero: got %v, %v", again.Weights, err)
			}
			if _, err := r.Restore(t.Context(), shop(), m, nil); err != nil {
				t.Fatal(err)
			}
			if again, err := r.Observe(t.Context(), shop(), m, rollback.Stored); err != nil || rollback.FormatWeights(again.Weights) != rollback.FormatWeights(seen.Weights) {
				t.Errorf("restored to %v, %v; want %v", again.Weights, err, seen.Weights)
			}
		})
	}
}
