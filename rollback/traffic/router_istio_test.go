package traffic

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/upcommerce/backout/rollback"
)

// Some hosts look like a Service of the namespace and are not.
func TestIstioHosts(t *testing.T) {
	for host, want := range map[string]string{
		"shop-canary": "shop-canary", "shop-canary.shop": "shop-canary", "shop-canary.shop.svc": "shop-canary", "shop-canary.shop.svc.cluster.local": "shop-canary",
		"shop-canary.other": "", "shop-canary.other.svc.cluster.local": "", "shop-canary.shop.example": "", "shop-canary.shop.svcs": "",
	} {
		o := &unstructured.Unstructured{}
		o.SetNamespace("shop")
		if got := hostService(o, host); got != want {
			t.Errorf("the host %s names Service %q: got %q", host, want, got)
		}
	}
}

// A subset's labels count together with the selector of its Service: another
// application's pods may have the same version.
func TestSubsetOfAService(t *testing.T) {
	const (
		route    = virtualService + `http: [{route: [{destination: {host: shop, subset: old}, weight: 70}, {destination: {host: shop, subset: new}, weight: 30}]}]}}`
		versions = `{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: shop}, spec: {host: shop, subsets: [{name: old, labels: {version: v1}}, {name: new, labels: {version: v2}}]}}`
	)
	pods := func(name, labels string) string {
		return `{apiVersion: apps/v1, kind: Deployment, metadata: {name: ` + name + `}, spec: {template: {metadata: {labels: ` + labels + `}, spec: {}}}}`
	}
	m := rollback.Manifest{
		object(t, route), object(t, versions), object(t, sharedService), object(t, pods("shop", "{app: shop, version: v1, track: stable}")),
		object(t, pods("shop-canary", "{app: shop, version: v2, track: canary}")), object(t, pods("blog", "{app: blog, version: v2}")),
	}
	client := cluster(t, route)
	changed, err := routerOn(client).Shed(t.Context(), shop(), m, nil, nil)
	if got := listWeights(liveObject(t, client, object(t, route)).Object); err != nil || len(changed) != 1 || got != "100 0" {
		t.Errorf("got %v, %v, weights %q; want the subset of version v2 at zero", changed, err, got)
	}
}

// A subset of a shared Service is ready if a pod of that subset is.
func TestSubsetReadiness(t *testing.T) {
	route := virtualService + `http: [{route: [{destination: {host: shop, subset: v1}, weight: 70}, {destination: {host: shop, subset: v2}, weight: 30}]}]}}`
	pod := func(track string) string {
		return `{apiVersion: v1, kind: Pod, metadata: {name: shop-0, labels: {track: ` + track + `}}}`
	}
	m := rollback.Manifest{object(t, canaryService), object(t, subsets), object(t, route)}
	for track, want := range map[string]string{"stable": "", "canary": "Service shop with track=stable has no ready endpoint"} {
		got, err := routerOn(cluster(t, route, endpoints("shop", ready), pod(track))).Observe(t.Context(), shop(), m, rollback.Stored)
		if err != nil || got.NoStable != want {
			t.Errorf("the only ready pod is %s: got %q, %v; want %q", track, got.NoStable, err, want)
		}
	}
}

// Without a DestinationRule, the pods of a subset are unknown, and so is their readiness.
func TestSubsetWithoutADestinationRule(t *testing.T) {
	route := virtualService + `http: [{route: [{destination: {host: other, subset: stable}, weight: 70}, {destination: {host: other, subset: canary}, weight: 30}]}]}}`
	m := rollback.Manifest{object(t, canaryService), object(t, route)}
	if got, err := routerOn(cluster(t, route)).Observe(t.Context(), shop(), m, rollback.Stored); err != nil || got.NoStable != "" || !got.Open() {
		t.Errorf("got %+v, %v; want an open route and no reason against a shed", got, err)
	}
}
