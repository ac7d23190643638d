package traffic

import (
	"strings"
	"testing"

	"github.com/upcommerce/backout/rollback"
)

// backout names each Service of the canary whose traffic no shed stops, and each route that may
// lead to a canary which no label shows; where a route exists that no manifest declares, it is shed.
func TestNoRouteIsMissedWithoutAWord(t *testing.T) {
	const (
		split     = `[{name: shop, weight: 80}, {name: shop-canary, weight: 20}]`
		scrapes   = `{apiVersion: v1, kind: Service, metadata: {name: shop-canary-metrics}, spec: {clusterIP: None, selector: {track: canary, deployment: shop-canary}}}`
		cart      = `{apiVersion: v1, kind: Service, metadata: {name: cart-canary}, spec: {selector: {track: canary, deployment: cart-canary}}}`
		own       = `{apiVersion: v1, kind: Service, metadata: {name: shop-canary}, spec: {selector: {track: canary, deployment: shop-canary}}}`
		plain     = `{apiVersion: v1, kind: Service, metadata: {name: shop}, spec: {selector: {app: shop}}}`
		byVersion = `{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: shop}, spec: {host: shop, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}}`
		versions  = virtualService + `http: [{route: [{destination: {host: shop, subset: v1}, weight: 80}, {destination: {host: shop, subset: v2}, weight: 20}]}]}}`
	)
	canaryPods, stablePods := deployment("shop-canary", "canary", "1", 1), deployment("shop", "stable", "1", 1)
	version := func(v string) string {
		return strings.NewReplacer("track: stable", "version: "+v, "name: shop}", "name: shop-"+v+"}", "deployment: shop", "deployment: shop-"+v).Replace(stablePods)
	}
	serviceOf := func(v string) string {
		return `{apiVersion: v1, kind: Service, metadata: {name: shop-` + v + `}, spec: {selector: {version: ` + v + `}}}`
	}
	action := awsIngress(targetGroup("shop-v1", "80")+","+targetGroup("shop-v2", "20"), "")
	cartRoute := strings.NewReplacer("name: shop}, spec", "name: cart}, spec", "shop-canary", "cart-canary", "name: shop,", "name: cart,").Replace(backendRefs(split))
	for name, c := range map[string]struct {
		manifest, live []string
		weights        string
		missed         string // its beginning; "" for nothing
	}{
		"no route at all": {
			[]string{own, canaryPods, stablePods},
			nil,
			"", "no route of a known kind in namespace shop divides requests between shop-canary and another backend: its route is elsewhere or of an unknown kind; move it, or shed through its owner",
		},
		"a route to one of two": {
			[]string{own, cart, canaryPods, deployment("cart-canary", "canary", "1", 1), stablePods, backendRefs(split)},
			[]string{backendRefs(split)},
			"HTTPRoute/shop 20 -> 20", "no route of a known kind in namespace shop divides requests between cart-canary and another backend",
		},
		"the route of the other one is not the release's": {
			[]string{own, cart, canaryPods, deployment("cart-canary", "canary", "1", 1), stablePods, backendRefs(split)},
			[]string{backendRefs(split), cartRoute},
			"HTTPRoute/shop 20 -> 20, HTTPRoute/cart 20 -> 20", "",
		},
		"none of the canary's Services takes over for another": {
			[]string{own, cart, canaryPods, deployment("cart-canary", "canary", "1", 1), stablePods, backendRefs(split)},
			[]string{backendRefs(split), strings.Replace(backendRefs(`[{name: shop, weight: 10}, {name: shop-canary, weight: 50}, {name: cart-canary, weight: 40}]`), "name: shop}, spec", "name: cart}, spec", 1)},
			"HTTPRoute/shop 20 -> 20, HTTPRoute/cart 90 -> 90", "",
		},
		"another Service for scrapes of the same pods": {
			[]string{own, scrapes, canaryPods, stablePods, backendRefs(split)},
			[]string{backendRefs(split)},
			"HTTPRoute/shop 20 -> 20", "",
		},
		"target groups of which no label shows the canary": {
			[]string{serviceOf("v1"), serviceOf("v2"), version("v1"), version("v2"), action},
			[]string{action},
			"", "Ingress/shop divides requests between shop-v1 and shop-v2, and no label shows which one is the canary: set the annotation backout.dev/canary on it, such as backout.dev/canary=shop-v2",
		},
		"subsets by a label that does not show the canary": {
			[]string{plain, version("v1"), version("v2"), byVersion, versions},
			[]string{versions},
			"", "VirtualService/shop divides requests between shop/v1 and shop/v2, and no label shows which one is the canary: set the annotation backout.dev/canary on it, such as backout.dev/canary=shop/v2",
		},
		"a release without a canary and without such a route": {
			[]string{plain, stablePods}, nil, "", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			routing, err := routerOn(cluster(t, append(c.live, endpoints("shop", ready), endpoints("cart", ready))...)).
				Observe(t.Context(), shop(), manifest(t, c.manifest...), rollback.Stored)
			if err != nil {
				t.Fatal(err)
			}
			if got := rollback.FormatWeights(routing.Weights); got != c.weights {
				t.Errorf("got weights %q, want %q", got, c.weights)
			}
			got := strings.Join(routing.Missed, "\n")
			if c.missed == "" && got != "" || !strings.HasPrefix(got, c.missed) {
				t.Errorf("missed without the right word: got %q, want %q", got, c.missed)
			}
		})
	}
}

// A route of the release in the namespace of a gateway is neither read nor written: the error names it.
func TestARouteInAnotherNamespaceIsNamed(t *testing.T) {
	for name, route := range map[string]string{
		"VirtualService istio-ingress/shop": `{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: shop, namespace: istio-ingress}, spec: {http: [{route: [{destination: {host: shop.shop.svc.cluster.local}, weight: 80}, {destination: {host: shop-canary.shop.svc.cluster.local}, weight: 20}]}]}}`,
		"HTTPRoute gateway/shop":            `{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: shop, namespace: gateway}, spec: {rules: [{backendRefs: [{name: shop, namespace: shop, weight: 80}, {name: shop-canary, namespace: shop, weight: 20}]}]}}`,
	} {
		client := cluster(t)
		_, err := routerOn(client).Shed(t.Context(), shop(), manifest(t, canaryService, route), nil, nil)
		if err == nil || !strings.Contains(err.Error(), name+" is outside the release's namespace shop: set its weight manually") {
			t.Errorf("%s: got %v, want an error that names it", name, err)
		}
		for _, a := range client.Actions() {
			if a.GetNamespace() != "shop" {
				t.Errorf("nothing of another namespace is read or written: got %v", a)
			}
		}
	}
}
