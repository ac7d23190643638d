package traffic

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/upcommerce/backout/rollback"
)

// A hold of a canary that gets nothing already has to outlast the next step of its ramp: the
// mark proves it.
func TestAShedMarksACanaryThatIsAtZeroAlready(t *testing.T) {
	for name, route := range map[string]string{
		"ingress-nginx": ingressWeight("0"),
		"Gateway API":   backendRefs(`[{name: shop, port: 80, weight: 100}, {name: shop-canary, port: 80, weight: 0}]`),
		"replicas":      deployment("shop-canary", "canary", "0", 0),
	} {
		t.Run(name, func(t *testing.T) {
			client := cluster(t, route, deployment("shop", "stable", "4", 4))
			r := routerOn(client)
			m := rollback.Manifest{object(t, canaryService), object(t, route)}
			if name == "replicas" {
				m = rollback.Manifest{object(t, sharedService), object(t, stableService), object(t, route), object(t, deployment("shop", "stable", "4", 0))}
			}
			for attempt := 1; attempt <= 2; attempt++ {
				client.ClearActions()
				weights, err := r.Shed(t.Context(), shop(), m, nil, nil)
				if err != nil || len(weights) != 1 || weights[0].From != "0" || weights[0].To != "0" {
					t.Fatalf("shed %d: %v, %v; want 0 -> 0", attempt, weights, err)
				}
				patches := 0
				for _, a := range client.Actions() {
					if a.GetVerb() == "patch" {
						patches++
					}
				}
				if patches != 2-attempt {
					t.Errorf("shed %d sends %d patches, want %d", attempt, patches, 2-attempt)
				}
			}
			if held, err := r.Held(t.Context(), shop(), m); err != nil || !held {
				t.Errorf("marked %t, %v; want the mark of the shed", held, err)
			}
			if _, err := r.Restore(t.Context(), shop(), m, nil); err != nil {
				t.Fatal(err)
			}
			if held, err := r.Held(t.Context(), shop(), m); err != nil || held {
				t.Errorf("marked %t after the restore, %v; want none", held, err)
			}
		})
	}
}

func TestTheGaugeSaysWhichRoutesAreHeldAtZero(t *testing.T) {
	route := backendRefs(`[{name: shop, port: 80, weight: 80}, {name: shop-canary, port: 80, weight: 20}]`)
	client := cluster(t, of(t, "shop", canaryService, route)...)
	g := gaugeOf(t, client, func(rollback.Key) bool { return true })
	held := func() bool {
		g.poll(t.Context(), "shop")
		if len(g.guarded) != 1 || len(g.guarded[0].Routes) != 1 {
			t.Fatalf("guarded %+v; want one release with one route", g.guarded)
		}
		return g.guarded[0].Routes[0].Held
	}
	if held() {
		t.Error("a route that nothing has set to zero is held")
	}
	r, m := routerOn(client), rollback.Manifest{object(t, canaryService), object(t, route)}
	if _, err := r.Shed(t.Context(), shop(), m, nil, nil); err != nil {
		t.Fatal(err)
	}
	if !held() {
		t.Error("a route that a shed has set to zero is not held")
	}
	if _, err := r.Restore(t.Context(), shop(), m, nil); err != nil {
		t.Fatal(err)
	}
	if held() {
		t.Error("a route whose weight is restored is held")
	}
}

// A mark stays only where the weight is zero: where another client has restored it, the next
// comparison of marks and records has nothing to find, and an apply meets no conflict.
func TestUnmarkRemovesTheMarkOfAWeightThatIsBack(t *testing.T) {
	route := backendRefs(`[{name: shop, port: 80, weight: 80}, {name: shop-canary, port: 80, weight: 20}]`)
	for name, c := range map[string]struct {
		weights string
		marked  bool
	}{"still zero": {"100 0", true}, "restored by another client": {"95 5", false}} {
		t.Run(name, func(t *testing.T) {
			client := cluster(t, route)
			r, m := routerOn(client), rollback.Manifest{object(t, canaryService), object(t, route)}
			if _, err := r.Shed(t.Context(), shop(), m, nil, nil); err != nil {
				t.Fatal(err)
			}
			live := liveObject(t, client, object(t, route))
			list := live.Object["spec"].(map[string]any)["rules"].([]any)[0].(map[string]any)["backendRefs"].([]any)
			if !c.marked {
				list[0].(map[string]any)["weight"], list[1].(map[string]any)["weight"] = int64(95), int64(5)
			}
			if _, err := client.Resource(httpRoutes()).Namespace("shop").Update(t.Context(), live, metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
			if err := r.Unmark(t.Context(), shop(), m); err != nil {
				t.Fatal(err)
			}
			after := liveObject(t, client, object(t, route))
			if got := listWeights(after.Object); got != c.weights || marked(after) != c.marked {
				t.Errorf("weights %s, marked %t; want %s, %t", got, marked(after), c.weights, c.marked)
			}
		})
	}
}

func TestUnmarkKeepsTheMarkOfAnIngressAtZero(t *testing.T) {
	client := cluster(t, ingressWeight("20"))
	r, m := routerOn(client), rollback.Manifest{object(t, canaryService), object(t, ingressWeight("20"))}
	if _, err := r.Shed(t.Context(), shop(), m, nil, nil); err != nil {
		t.Fatal(err)
	}
	if err := r.Unmark(t.Context(), shop(), m); err != nil {
		t.Fatal(err)
	}
	if held, err := r.Held(t.Context(), shop(), m); err != nil || !held {
		t.Errorf("marked %t, %v; want the mark of a weight that is still zero", held, err)
	}
}
