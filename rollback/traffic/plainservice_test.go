package traffic

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/upcommerce/backout/rollback"
)

// deployment is one of a track, with as many replicas and ready pods; no replicas
// in the spec if that is "".
func deployment(name, track, replicas string, ready int) string {
	if replicas != "" {
		replicas = "replicas: " + replicas + ", "
	}
	return fmt.Sprintf(`{apiVersion: apps/v1, kind: Deployment, metadata: {name: %s}, spec: {%stemplate: {metadata: {labels: {app: shop, track: %s, deployment: %s}}, spec: {containers: []}}}, status: {readyReplicas: %d}}`,
		name, replicas, track, name, ready)
}

const (
	sharedService = `{apiVersion: v1, kind: Service, metadata: {name: shop}, spec: {selector: {app: shop}}}`
	stableService = `{apiVersion: v1, kind: Service, metadata: {name: shop-stable}, spec: {selector: {app: shop, track: stable}}}`
	autoscaler    = `{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: shop}, spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: shop-canary}}}`
)

// Behind a Service of both tracks, the canary's replicas are its weight.
func TestPlainService(t *testing.T) {
	for name, c := range map[string]struct {
		live       string // replicas of the canary
		stable     int    // ready pods
		declared   string // replicas in the manifest
		autoscaler bool
		look       rollback.Routing
		shed       string // From -> To
		raised     string
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
		"but no less than there was: an autoscaler that the manifest has not may have set it": {
			"3", 3, "2", false,
			rollback.Routing{Weights: []rollback.Weight{{Kind: "Deployment", Name: "shop-canary", From: "3", To: "3"}}, Load: 2},
			"3 -> 0", "0 -> 3",
		},
		"what an autoscaler had chosen comes back": {
			"3", 3, "2", true,
			rollback.Routing{Weights: []rollback.Weight{{Kind: "Deployment", Name: "shop-canary", From: "3", To: "3"}}, Load: 2},
			"3 -> 0", "0 -> 3",
		},
		"where no number is declared, what was there comes back": {
			"3", 3, "", false,
			rollback.Routing{Weights: []rollback.Weight{{Kind: "Deployment", Name: "shop-canary", From: "3", To: "3"}}, Load: 2},
			"3 -> 0", "0 -> 3",
		},
		"nobody else is ready": {
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
			r := &Router{objects: client}
			m := rollback.Manifest{object(t, sharedService), object(t, stableService), object(t, canary), object(t, deployment("shop", "stable", "4", 0))}
			if c.autoscaler {
				m = append(m, object(t, autoscaler))
			}
			got, err := r.Look(t.Context(), shop(), m)
			if diff := cmp.Diff(c.look, got, besideSeen()); err != nil || diff != "" {
				t.Errorf("a look: %v (-want +got):\n%s", err, diff)
			}
			for range 2 {
				told, err := r.Shed(t.Context(), shop(), m, nil)
				if err != nil || len(told) != 1 || told[0].String() != "Deployment/shop-canary "+c.shed {
					t.Errorf("shed: got %v, %v, want %s", told, err, c.shed)
				}
			}
			if got := live(t, client, object(t, canary)); fmt.Sprint(got.Object["spec"].(map[string]any)["replicas"]) != "0" {
				t.Errorf("the canary runs no pods: got %v", got.Object["spec"])
			}
			held := object(t, canary)
			if holdIn(m, nil)(held); !cmp.Equal(held, object(t, canary)) {
				t.Errorf("what Helm writes brings its own template with it, and needs no hold: got %v", held)
			}
			raised, err := r.Raise(t.Context(), shop(), m, nil)
			if err != nil || len(raised) != 1 || raised[0].String() != "Deployment/shop-canary "+c.raised {
				t.Errorf("raised: got %v, %v, want %s", raised, err, c.raised)
			}
		})
	}
}

// A canary that runs is not scaled by a raise, whatever the manifest declares: what
// scales it, such as KEDA, need not say so there.
func TestRaiseLeavesReplicas(t *testing.T) {
	for _, declared := range []string{"2", "12", ""} {
		canary := strings.Replace(deployment("shop-canary", "canary", "9", 9), "name: shop-canary}", "name: shop-canary, annotations: {backout.dev/held-weight: '3'}}", 1)
		client := cluster(t, canary, deployment("shop", "stable", "4", 4))
		m := rollback.Manifest{object(t, sharedService), object(t, deployment("shop", "stable", "4", 4)), object(t, deployment("shop-canary", "canary", declared, 2))}
		told, err := (&Router{objects: client}).Raise(t.Context(), shop(), m, nil)
		if err != nil || len(told) != 1 || told[0].String() != "Deployment/shop-canary 9 -> 9" {
			t.Errorf("told %v, %v; want 9 -> 9", told, err)
		}
		got := live(t, client, object(t, canary))
		if n := got.Object["spec"].(map[string]any)["replicas"]; fmt.Sprint(n) != "9" || len(got.GetAnnotations()) > 0 {
			t.Errorf("a canary that runs keeps its replicas, and no mark: got %v of 9, %v", n, got.GetAnnotations())
		}
	}
}

// A Deployment is scaled to zero only where nothing else can take its traffic away.
func TestDeploymentsThatAreLeftAlone(t *testing.T) {
	canary, stable := deployment("shop-canary", "canary", "1", 1), deployment("shop", "stable", "4", 4)
	for name, declared := range map[string][]string{
		"a router that backout does not know leads to the canary's own Service": {canaryService, sharedService, canary, stable},
		"no Service leads to both":            {stableService, canary, stable},
		"the canary is alone":                 {sharedService, canary},
		"there is no canary":                  {sharedService, stable, deployment("blog", "blog", "1", 1)},
		"a person named the route":            {`{apiVersion: v1, kind: Service, metadata: {name: shop, annotations: {backout.dev/route: HTTPRoute/shop}}, spec: {selector: {app: shop}}}`, canary, stable},
		"a person named the canary's backend": {sharedService, canary, stable, `{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: gone, annotations: {backout.dev/canary: shop-canary}}, spec: {rules: [{backendRefs: [{name: shop}, {name: shop-canary}]}]}}`},
	} {
		t.Run(name, func(t *testing.T) {
			client := cluster(t, canary, stable)
			var m rollback.Manifest
			for _, text := range declared {
				m = append(m, object(t, text))
			}
			told, _ := (&Router{objects: client}).Shed(t.Context(), shop(), m, nil)
			if len(told) > 0 {
				t.Errorf("told %v, want nothing", told)
			}
			if got := live(t, client, object(t, canary)); fmt.Sprint(got.Object["spec"].(map[string]any)["replicas"]) != "1" {
				t.Errorf("its pods stay: got %v", (&unstructured.Unstructured{Object: got.Object}).Object["spec"])
			}
		})
	}
}
