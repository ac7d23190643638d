package chart

import (
	"context"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
)

// httpRoute returns a route that gives the canary that weight.
func httpRoute(weight int, path string) string {
	return fmt.Sprintf("\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: shop}\nspec: {rules: [{matches: [{path: {value: %s}}], "+
		"backendRefs: [{name: shop, port: 80, weight: %d}, {name: shop-canary, port: 80, weight: %d}]}]}", path, 100-weight, weight)
}

// A chart without the rights on the router that a release uses stops no rollback that needs no write of the route: it begins without the
// zero, the report begins with that, and the route keeps its weight. Where the rollback would have to change more of the route than its
// weights, backout leaves the release alone and names the right that it lacks.
func TestARouteThatBackoutMayNotRead(t *testing.T) {
	t.Parallel()
	c := open(t)
	c.define(t, append(operatorKinds(), "httproutes.gateway.networking.k8s.io/v1 HTTPRoute", "grpcroutes.gateway.networking.k8s.io/v1 GRPCRoute")...)
	cases := []struct {
		namespace, before, after string
		verdict                  rollback.Verdict
	}{
		{"same-route", httpRoute(20, "/"), httpRoute(20, "/"), rollback.Act},
		{"other-weights", httpRoute(5, "/"), httpRoute(20, "/"), rollback.Act},
		{"other-rules", httpRoute(20, "/"), httpRoute(20, "/new"), rollback.Unsafe},
	}
	namespaces := []string{own}
	var targets []string
	for i, tc := range cases {
		namespaces = append(namespaces, tc.namespace)
		targets = append(targets, fmt.Sprintf("targets[%d].namespace=%s,targets[%d].releases={*}", i, tc.namespace, i))
	}
	c.appoint(t, namespaces, "monitoring.coreos.com")
	c.install(t, "--set", strings.Join(targets, ","), "--set",
		"routers={ingress},config.mode=act,config.verify=1s,config.verifyLimit=3s,tests.enabled=false")
	for _, tc := range cases {
		c.upgrade(t, tc.namespace, "shop", append(tracks("v2"), tc.before))
		c.upgrade(t, tc.namespace, "shop", append(tracks("v3"), tc.after))
		c.ready(t, tc.namespace)
	}
	am := c.alertmanager(t, own)
	for _, tc := range cases {
		fire(t, am, labelsOf(tc.namespace, "shop", "rollback"))
	}
	for _, tc := range cases {
		t.Run(tc.namespace, func(t *testing.T) {
			r := c.await(t, tc.namespace, "backout.v1.shop.v2", func(r rollback.Record) bool {
				return r.Decision().Verdict == tc.verdict && (r.Rollback.Succeeded() || tc.verdict != rollback.Act)
			})
			t.Logf("the record: %s", report.Summary(&r))
			if text := report.Summary(&r); !strings.Contains(text, "httproutes") && !strings.Contains(text, "HTTPRoute") {
				t.Errorf("the record does not name the route that backout may not read: %s", text)
			}
			if tc.verdict == rollback.Unsafe {
				if reason := r.Decision().Reason; r.Rollback != nil || !strings.Contains(reason, "may not get or patch it; add to backout's Role") {
					t.Errorf("a route that has to change is not written, and the reason names the right: %s", report.Summary(&r))
				}
				return
			}
			if r.Target != 1 {
				t.Errorf("rolled back to revision %d, want 1", r.Target)
			}
			t.Logf("from the alert to the rollback's begin: %s", r.Rollback.Started.Sub(r.Signals[0].Received))
			c.routeKeeps(t, tc.namespace, 20)
		})
	}
}

// routeKeeps checks that the route in the namespace gives the canary that weight.
func (c *cluster) routeKeeps(t *testing.T, namespace string, weight int) {
	t.Helper()
	routes := c.objects.Resource(schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"})
	eventually(t, "the route is read", func(ctx context.Context) bool {
		o, err := routes.Namespace(namespace).Get(ctx, "shop", metav1.GetOptions{})
		if err != nil {
			return false
		}
		if want := fmt.Sprintf("port:80 weight:%d", weight); !strings.Contains(fmt.Sprint(o.Object["spec"]), want) {
			t.Errorf("the route has no backend with %q: %v", want, o.Object["spec"])
		}
		return true
	})
}
