package traffic

import (
	"slices"
	"testing"

	"github.com/upcommerce/backout/rollback"
)

// Clients with a session that a weight of zero does not move are named, with how long they stay and what moves them.
func TestClientsThatStayAreNamed(t *testing.T) {
	const (
		split   = `[{name: shop, weight: 80}, {name: shop-canary, weight: 20}]`
		open    = `to: {kind: Service, name: shop, weight: 80}, alternateBackends: [{kind: Service, name: shop-canary, weight: 20}]`
		haproxy = "Route/shop: the router leaves clients with its cookie on the canary's pods until they close the browser; set the annotation haproxy.router.openshift.io/disable_cookies=true on it to move them"
	)
	route := func(rules string) string {
		return `{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: shop}, spec: {rules: [` + rules + `]}}`
	}
	annotated := func(annotation string) string {
		return `{apiVersion: route.openshift.io/v1, kind: Route, metadata: {name: shop, annotations: {` + annotation + `}}, spec: {host: shop.example, ` + open + `}}`
	}
	for name, c := range map[string]struct {
		live string
		want []string
	}{
		"a permanent cookie": {
			route(`{backendRefs: ` + split + `, sessionPersistence: {sessionName: seat, absoluteTimeout: 1h, cookieConfig: {lifetimeType: Permanent}}}`),
			[]string{`HTTPRoute/shop: some implementations leave clients with a session "seat" on the canary, for up to 1h; remove sessionPersistence from its rules to move them: kubectl edit httproute.gateway.networking.k8s.io shop -n shop`},
		},
		"a cookie of the browser's session": {
			route(`{backendRefs: ` + split + `, sessionPersistence: {}}`),
			[]string{`HTTPRoute/shop: some implementations leave clients with a session on the canary, until they close the browser; remove sessionPersistence from its rules to move them: kubectl edit httproute.gateway.networking.k8s.io shop -n shop`},
		},
		"such a cookie with timeouts": {
			route(`{backendRefs: ` + split + `, sessionPersistence: {sessionName: seat, idleTimeout: 10m, absoluteTimeout: 1h}}`),
			[]string{`HTTPRoute/shop: some implementations leave clients with a session "seat" on the canary, until they close the browser or until it is idle for 10m or for up to 1h; remove sessionPersistence from its rules to move them: kubectl edit httproute.gateway.networking.k8s.io shop -n shop`},
		},
		"a header": {
			route(`{backendRefs: ` + split + `, sessionPersistence: {type: Header, sessionName: X-Seat}}`),
			[]string{`HTTPRoute/shop: some implementations leave clients with a session "X-Seat" on the canary, for as long as they send it; remove sessionPersistence from its rules to move them: kubectl edit httproute.gateway.networking.k8s.io shop -n shop`},
		},
		"sessions of a rule that does not lead to the canary": {
			route(`{backendRefs: ` + split + `}, {backendRefs: [{name: shop}], sessionPersistence: {sessionName: seat}}`), nil,
		},
		"no sessions":                      {route(`{backendRefs: ` + split + `}`), nil},
		"OpenShift's cookie":               {openshiftRoute + open + `}}`, []string{haproxy}},
		"OpenShift's cookie, with a name":  {annotated(`router.openshift.io/cookie_name: seat`), []string{`Route/shop: the router leaves clients with its cookie "seat" on the canary's pods until they close the browser; set the annotation haproxy.router.openshift.io/disable_cookies=true on it to move them`}},
		"OpenShift without cookies":        {annotated(`haproxy.router.openshift.io/disable_cookies: "true"`), nil},
		"OpenShift, encrypted to the pods": {openshiftRoute + open + `, tls: {termination: passthrough}}}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			r := routerOn(cluster(t, c.live))
			routing, err := r.Observe(t.Context(), shop(), manifest(t, canaryService, c.live), rollback.Stored)
			if err != nil || !slices.Equal(routing.Missed, c.want) {
				t.Errorf("missed %q, %v; want %q", routing.Missed, err, c.want)
			}
		})
	}
}
