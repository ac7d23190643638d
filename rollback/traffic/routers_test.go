package traffic

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/upcommerce/backout/rollback"
)

// Each router reads its weights as the shed changes them.
func TestRouters(t *testing.T) {
	for name, c := range map[string]struct {
		route string
		from  string // the canary's weight; "" if the route does not lead to it
		shed  string // the weights after the shed
	}{
		"Istio: short names":                       {virtualService + `http: [{route: [{destination: {host: shop}, weight: 80}, {destination: {host: shop-canary}, weight: 20}]}]}}`, "20", "100 0"},
		"Istio: names with namespaces":             {virtualService + `http: [{route: [{destination: {host: shop.shop.svc.cluster.local}, weight: 80}, {destination: {host: shop-canary.shop.svc}, weight: 20}]}]}}`, "20", "100 0"},
		"Istio: no weight is zero":                 {virtualService + `http: [{route: [{destination: {host: shop}, weight: 100}, {destination: {host: shop-canary}}]}]}}`, "0", "100 -"},
		"Istio: tcp":                               {virtualService + `tcp: [{route: [{destination: {host: shop}, weight: 3}, {destination: {host: shop-canary}, weight: 1}]}]}}`, "1", "4 0"},
		"Istio: tls, and http without a canary":    {virtualService + `http: [{route: [{destination: {host: shop}}]}], tls: [{route: [{destination: {host: shop}, weight: 50}, {destination: {host: shop-canary}, weight: 50}]}]}}`, "50", "- | 100 0"},
		"Istio: subsets of a shared host":          {virtualService + `http: [{route: [{destination: {host: shop, subset: v1}, weight: 70}, {destination: {host: shop, subset: v2}, weight: 30}]}]}}`, "30", "100 0"},
		"Istio: a subset without a description":    {virtualService + `http: [{route: [{destination: {host: other, subset: stable}, weight: 70}, {destination: {host: other, subset: canary}, weight: 30}]}]}}`, "30", "100 0"},
		"Traefik: a TraefikService":                {traefikService + `[{name: shop, port: 80, weight: 9}, {name: shop-canary, port: 80, weight: 1}]}}}`, "1", "10 0"},
		"Traefik: no weight is one":                {traefikService + `[{name: shop, port: 80}, {name: shop-canary, port: 80}]}}}`, "1", "2 0"},
		"Traefik: an explicit zero is zero":        {traefikService + `[{name: shop, port: 80, weight: 1}, {name: shop-canary, port: 80, weight: 0}]}}}`, "0", "1 0"},
		"Traefik: the services of an IngressRoute": {`{apiVersion: traefik.io/v1alpha1, kind: IngressRoute, metadata: {name: shop}, spec: {routes: [{match: a, services: [{name: shop}]}, {match: b, services: [{name: shop, weight: 5}, {name: shop-canary, weight: 5}]}]}}`, "5", "- | 10 0"},
		"Traefik 2": {`{apiVersion: traefik.containo.us/v1alpha1, kind: TraefikService, metadata: {name: shop}, spec: {weighted: {services: [{name: shop, weight: 3}, {name: shop-canary}]}}}`, "1", "4 0"},
		"Traefik: another TraefikService of the canary's name": {traefikService + `[{name: shop, port: 80, weight: 1}, {name: shop-canary, kind: TraefikService, weight: 1}]}}}`, "", "1 1"},
		"Contour: weights":                          {httpProxy + `{routes: [{services: [{name: shop, port: 80, weight: 80}, {name: shop-canary, port: 80, weight: 20}]}]}}`, "20", "100 0"},
		"Contour: no weight next to one is zero":    {httpProxy + `{routes: [{services: [{name: shop, port: 80, weight: 80}, {name: shop-canary, port: 80}]}]}}`, "0", "80 -"},
		"Contour: no weight at all is the same":     {httpProxy + `{routes: [{services: [{name: shop, port: 80}, {name: beta, port: 80}, {name: shop-canary, port: 80}]}]}}`, "1", "2 1 0"},
		"Contour: a mirror is not a backend":        {httpProxy + `{routes: [{services: [{name: shop, port: 80}, {name: beta, port: 80}, {name: shop-canary, port: 80, mirror: true}]}]}}`, "", "- - -"},
		"Contour: tcpproxy":                         {httpProxy + `{tcpproxy: {services: [{name: shop, port: 80, weight: 1}, {name: shop-canary, port: 80, weight: 1}]}}}`, "1", "2 0"},
		"Gateway API: TCP":                          {`{apiVersion: gateway.networking.k8s.io/v1alpha2, kind: TCPRoute, metadata: {name: shop}, spec: {rules: [{backendRefs: [{name: shop, weight: 3}, {name: shop-canary}]}]}}`, "1", "4 0"},
		"Gateway API: TLS":                          {`{apiVersion: gateway.networking.k8s.io/v1, kind: TLSRoute, metadata: {name: shop}, spec: {rules: [{backendRefs: [{name: shop, weight: 3}, {name: shop-canary, weight: 1}]}]}}`, "1", "4 0"},
		"Gateway API: older TLS":                    {`{apiVersion: gateway.networking.k8s.io/v1alpha2, kind: TLSRoute, metadata: {name: shop}, spec: {rules: [{backendRefs: [{name: shop, weight: 3}, {name: shop-canary, weight: 1}]}]}}`, "1", "4 0"},
		"Gateway API: UDP":                          {`{apiVersion: gateway.networking.k8s.io/v1alpha2, kind: UDPRoute, metadata: {name: shop}, spec: {rules: [{backendRefs: [{name: shop}, {name: shop-canary}]}]}}`, "1", "2 0"},
		"Gateway API: more than the largest weight": {backendRefs(`[{name: shop, weight: 900000}, {name: shop-canary, weight: 100001}]`), "100001", "900000 0"},
		"NGINX: splits":                             {virtualServer + `[{path: /, splits: [{weight: 80, action: {pass: old}}, {weight: 20, action: {pass: new}}]}]}}`, "20", "100 0"},
		"NGINX: proxied splits, and a redirect":     {virtualServer + `[{path: /, splits: [{weight: 80, action: {proxy: {upstream: old}}}, {weight: 20, action: {proxy: {upstream: new}}}]}, {path: /old, action: {redirect: {url: /}}}]}}`, "20", "100 0 | -"},
		"NGINX: splits of a match":                  {virtualServer + `[{path: /, matches: [{conditions: [{header: x, value: y}], splits: [{weight: 5, action: {pass: old}}, {weight: 95, action: {pass: new}}]}], action: {pass: old}}]}}`, "95", "- | 100 0"},
		"NGINX: a subroute":                         {`{apiVersion: k8s.nginx.org/v1, kind: VirtualServerRoute, metadata: {name: shop}, spec: {upstreams: [{name: a, service: shop-canary}, {name: b, service: shop}], subroutes: [{path: /a, splits: [{weight: 10, action: {pass: a}}, {weight: 90, action: {pass: b}}]}]}}`, "10", "0 100"},
		"OpenShift: weights":                        {openshiftRoute + `to: {kind: Service, name: shop, weight: 200}, alternateBackends: [{kind: Service, name: shop-canary, weight: 50}]}}`, "50", "250 0"},
		"OpenShift: no weight is a hundred":         {openshiftRoute + `to: {name: shop}, alternateBackends: [{name: shop-canary}]}}`, "100", "200 0"},
		"OpenShift: more than the largest weight":   {openshiftRoute + `to: {name: shop, weight: 200}, alternateBackends: [{name: shop-canary, weight: 100}, {name: beta, weight: 10}]}}`, "100", "200 0 10"},
		"OpenShift: to the canary":                  {openshiftRoute + `to: {name: shop-canary, weight: 1}, alternateBackends: [{name: shop, weight: 9}]}}`, "1", "0 10"},
		"Skipper: a RouteGroup":                     {routeGroups + `defaultBackends: [{backendName: old, weight: 80}, {backendName: new, weight: 20}]}}`, "20", "100 0"},
		"Skipper: no weight is the same":            {routeGroups + `routes: [{path: /, backends: [{backendName: old}, {backendName: new}]}]}}`, "1", "2 0"},
		"Skipper: no weight next to one is zero":    {routeGroups + `defaultBackends: [{backendName: old, weight: 80}, {backendName: new}]}}`, "0", "80 -"},
		"Skipper: an Ingress":                       {skipperIngress(`{"shop": 80, "shop-canary": 20}`), "20", "100 0"},
		"Skipper: fractions":                        {skipperIngress(`{"shop": 0.8, "shop-canary": 0.2}`), "200", "1000 0"},
		"Skipper: a backend without a weight":       {skipperIngress(`{"shop": 100}`), "0", "100 -"},
		"AWS: target groups":                        {awsIngress(targetGroup("shop", "80")+","+targetGroup("shop-canary", "20"), ""), "20", "100 0"},
		"AWS: more than the largest weight":         {awsIngress(targetGroup("shop", "900")+","+targetGroup("shop-canary", "100"), ""), "100", "900 0"},
		"AWS: fields as the first release had them": {awsIngress(`{"ServiceName":"shop","ServicePort":"80","Weight":3},{"TargetGroupArn":"arn:a","Weight":1},{"ServiceName":"shop-canary","ServicePort":"80","Weight":1}`, ""), "1", "4 1 0"},
		"Gateway API: gRPC":                         {`{apiVersion: gateway.networking.k8s.io/v1, kind: GRPCRoute, metadata: {name: shop}, spec: {rules: [{backendRefs: [{name: shop}, {name: shop-canary}]}]}}`, "1", "2 0"},
	} {
		t.Run(name, func(t *testing.T) {
			declared := object(t, c.route)
			m := rollback.Manifest{object(t, canaryService), object(t, subsets), declared}
			client := cluster(t, c.route)
			r := routerOn(client)
			before := listWeights(liveObject(t, client, declared).Object)
			observed, err := r.Observe(t.Context(), shop(), m, rollback.Stored)
			if err != nil {
				t.Fatal(err)
			}
			changed, err := r.Shed(t.Context(), shop(), m, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			if c.from == "" {
				if len(changed)+len(observed.Weights) > 0 {
					t.Errorf("the route does not lead to the canary: got %v", changed)
				}
			} else if len(changed) != 1 || changed[0].From != c.from || len(observed.Weights) != 1 || observed.Weights[0].To != c.from {
				t.Errorf("the canary's weight is %s: the shed returned %v, and Observe %v", c.from, changed, observed.Weights)
			}
			if got := listWeights(liveObject(t, client, declared).Object); got != c.shed {
				t.Errorf("after the shed of %s: %q, want %q", before, got, c.shed)
			}
			held := object(t, c.route)
			newRegistry().holdIn(m, rollback.Track{}, nil)(held)
			if got := listWeights(held); got != c.shed {
				t.Errorf("the object that Helm writes has the weights %q, want %q", got, c.shed)
			}
			restored, err := r.Restore(t.Context(), shop(), m, nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(restored) > 0 && restored[0].To != c.from {
				t.Errorf("restored to %v, want %s", restored, c.from)
			}
			if again, err := r.Observe(t.Context(), shop(), m, rollback.Stored); err != nil || !cmp.Equal(again.Weights, observed.Weights) {
				t.Errorf("after the restore the weights are the same as before the shed: got %v, %v", again.Weights, err)
			}
			if _, held := liveObject(t, client, declared).GetAnnotations()[heldAnnotation]; held {
				t.Error("after the restore nothing is held")
			}
		})
	}
}

// A patch tests which backend it changes: on an object that another client writes all the
// time, no other test protects the wrong backend.
func TestPatchNamesTheBackend(t *testing.T) {
	for _, c := range []struct{ route, path, value string }{
		{backendRefs(`[{name: shop}, {name: shop-canary}]`), "/spec/rules/0/backendRefs/1/name", "shop-canary"},
		{virtualService + `http: [{route: [{destination: {host: shop}, weight: 1}, {destination: {host: shop-canary.shop.svc}, weight: 1}]}]}}`, "/spec/http/0/route/1/destination/host", "shop-canary.shop.svc"},
		{virtualService + `http: [{route: [{destination: {host: shop, subset: v1}, weight: 1}, {destination: {host: shop, subset: v2}, weight: 1}]}]}}`, "/spec/http/0/route/1/destination/subset", "v2"},
	} {
		o := &unstructured.Unstructured{Object: object(t, c.route)}
		kind := newRegistry()[o.GroupVersionKind().GroupKind()]
		e, err := kind.router.shed(o, newRegistry().canaryOf(rollback.Manifest{object(t, canaryService), object(t, subsets)}, rollback.Track{}))
		if want := (operation{Op: "test", Path: c.path, Value: c.value}); err != nil || !slices.Contains(e.operations, want) {
			t.Errorf("got %v, %v; want %v among them", e.operations, err, want)
		}
	}
}
