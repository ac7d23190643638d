package traffic

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/upcommerce/backout/rollback"
)

// Behind a Service of both tracks, the canary's weight is its number of replicas.
func TestPlainService(t *testing.T) {
	for name, c := range map[string]struct {
		live       string // replicas of the canary
		stable     int    // ready pods
		declared   string // replicas in the manifest
		autoscaler bool
		routing    rollback.Routing
		shed       string // From -> To
		restored   string
	}{
		"one of five pods": {
			"1", 4, "1", false,
			rollback.Routing{Weights: []rollback.Weight{{Kind: "Deployment", Name: "shop-canary", From: "1", To: "1"}}, Load: 1.25},
			"1 -> 0", "0 -> 1",
		},
		"the declared number comes back": {
			"3", 3, "5", false,
			rollback.Routing{Weights: []rollback.Weight{{Kind: "Deployment", Name: "shop-canary", From: "3", To: "3"}}, Load: 2},
			"3 -> 0", "0 -> 5",
		},
		"but not fewer than before: an autoscaler outside the manifest may have set them": {
			"3", 3, "2", false,
			rollback.Routing{Weights: []rollback.Weight{{Kind: "Deployment", Name: "shop-canary", From: "3", To: "3"}}, Load: 2},
			"3 -> 0", "0 -> 3",
		},
		"the number that an autoscaler chose comes back": {
			"3", 3, "2", true,
			rollback.Routing{Weights: []rollback.Weight{{Kind: "Deployment", Name: "shop-canary", From: "3", To: "3"}}, Load: 2},
			"3 -> 0", "0 -> 3",
		},
		"without a declared number, the number before the shed comes back": {
			"3", 3, "", false,
			rollback.Routing{Weights: []rollback.Weight{{Kind: "Deployment", Name: "shop-canary", From: "3", To: "3"}}, Load: 2},
			"3 -> 0", "0 -> 3",
		},
		"no other pod is ready": {
			"1", 0, "1", false,
			rollback.Routing{Weights: []rollback.Weight{{Kind: "Deployment", Name: "shop-canary", From: "1", To: "1"}}, Load: 1, NoStable: "no other Deployment behind the Service of shop-canary has a ready pod"},
			"1 -> 0", "0 -> 1",
		},
		"already zero": {
			"0", 4, "0", false,
			rollback.Routing{Weights: []rollback.Weight{{Kind: "Deployment", Name: "shop-canary", From: "0", To: "0"}}, Load: 1},
			"0 -> 0", "0 -> 0",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var ready int
			_, _ = fmt.Sscan(c.live, &ready)
			canary := deployment("shop-canary", "canary", c.declared, 0)
			client := cluster(t, deployment("shop-canary", "canary", c.live, ready), deployment("shop", "stable", "4", c.stable), deployment("blog", "blog", "9", 9))
			r := routerOn(client)
			m := rollback.Manifest{object(t, sharedService), object(t, stableService), object(t, canary), object(t, deployment("shop", "stable", "4", 0))}
			if c.autoscaler {
				m = append(m, object(t, autoscaler))
			}
			got, err := r.Observe(t.Context(), shop(), m, rollback.Stored)
			if diff := cmp.Diff(c.routing, got, ignoreObservation()); err != nil || diff != "" {
				t.Errorf("observed: %v (-want +got):\n%s", err, diff)
			}
			for range 2 {
				changed, err := r.Shed(t.Context(), shop(), m, nil, nil)
				if err != nil || len(changed) != 1 || changed[0].String() != "Deployment/shop-canary "+c.shed {
					t.Errorf("shed: got %v, %v, want %s", changed, err, c.shed)
				}
			}
			if got := liveObject(t, client, object(t, canary)); fmt.Sprint(got.Object["spec"].(map[string]any)["replicas"]) != "0" {
				t.Errorf("after the shed the canary has no replicas: got %v", got.Object["spec"])
			}
			held := object(t, canary)
			if newRegistry().holdIn(m, rollback.Track{}, nil)(held); !cmp.Equal(held, object(t, canary)) {
				t.Errorf("Helm writes the pod template and the replicas together, so nothing is held: got %v", held)
			}
			restored, err := r.Restore(t.Context(), shop(), m, nil)
			if err != nil || len(restored) != 1 || restored[0].String() != "Deployment/shop-canary "+c.restored {
				t.Errorf("restore: got %v, %v, want %s", restored, err, c.restored)
			}
		})
	}
}

// A restore does not scale a canary that has replicas, whatever the manifest declares: its
// autoscaler, such as KEDA, need not be in the manifest.
func TestRestoreKeepsReplicas(t *testing.T) {
	for _, declared := range []string{"2", "12", ""} {
		canary := strings.Replace(deployment("shop-canary", "canary", "9", 9), "name: shop-canary}", "name: shop-canary, annotations: {backout.dev/held-weight: '3'}}", 1)
		client := cluster(t, canary, deployment("shop", "stable", "4", 4))
		m := rollback.Manifest{object(t, sharedService), object(t, deployment("shop", "stable", "4", 4)), object(t, deployment("shop-canary", "canary", declared, 2))}
		restored, err := routerOn(client).Restore(t.Context(), shop(), m, nil)
		if err != nil || len(restored) != 1 || restored[0].String() != "Deployment/shop-canary 9 -> 9" {
			t.Errorf("got %v, %v; want 9 -> 9", restored, err)
		}
		got := liveObject(t, client, object(t, canary))
		if n := got.Object["spec"].(map[string]any)["replicas"]; fmt.Sprint(n) != "9" || len(got.GetAnnotations()) > 0 {
			t.Errorf("a canary with replicas keeps them, and is no longer held: got %v of 9, %v", n, got.GetAnnotations())
		}
	}
}

// A Deployment is scaled to zero only if nothing else can take its traffic away.
func TestDeploymentIsLeftAlone(t *testing.T) {
	canary, stable := deployment("shop-canary", "canary", "1", 1), deployment("shop", "stable", "4", 4)
	for name, declared := range map[string][]string{
		"a router that backout does not know leads to the canary's own Service": {canaryService, sharedService, canary, stable},
		"no Service leads to both":               {stableService, canary, stable},
		"the canary is alone":                    {sharedService, canary},
		"there is no canary":                     {sharedService, stable, deployment("blog", "blog", "1", 1)},
		"an operator named the route":            {`{apiVersion: v1, kind: Service, metadata: {name: shop, annotations: {backout.dev/route: HTTPRoute/shop}}, spec: {selector: {app: shop}}}`, canary, stable},
		"an operator named the canary's backend": {sharedService, canary, stable, `{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: gone, annotations: {backout.dev/canary: shop-canary}}, spec: {rules: [{backendRefs: [{name: shop}, {name: shop-canary}]}]}}`},
	} {
		t.Run(name, func(t *testing.T) {
			client := cluster(t, canary, stable)
			changed, _ := routerOn(client).Shed(t.Context(), shop(), manifest(t, declared...), nil, nil)
			if len(changed) > 0 {
				t.Errorf("got %v, want no change", changed)
			}
			if got := liveObject(t, client, object(t, canary)); fmt.Sprint(got.Object["spec"].(map[string]any)["replicas"]) != "1" {
				t.Errorf("it keeps its replicas: got %v", got.Object["spec"])
			}
		})
	}
}
