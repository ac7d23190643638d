package traffic

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/upcommerce/backout/rollback"
)

// Every valid form of weights is shed to zero with the same sum, held at zero in the objects
// that Helm writes, and restored to the declared weights.
func TestHTTPRouteWeights(t *testing.T) {
	for name, c := range map[string]struct {
		rules, shed string
		changed     []rollback.Weight
	}{
		"80 to 20": {
			`[{backendRefs: [{name: shop, weight: 80}, {name: shop-canary, weight: 20}]}]`, "100 0",
			[]rollback.Weight{{Kind: "HTTPRoute", Name: "shop", From: "20", To: "0"}},
		},
		"no weights: 1 each": {
			`[{backendRefs: [{name: shop}, {name: shop-canary}]}]`, "2 0",
			[]rollback.Weight{{Kind: "HTTPRoute", Name: "shop", From: "1", To: "0"}},
		},
		"a sum other than 100": {
			`[{backendRefs: [{name: shop, weight: 3}, {name: shop-canary, weight: 1}]}]`, "4 0",
			[]rollback.Weight{{Kind: "HTTPRoute", Name: "shop", From: "1", To: "0"}},
		},
		"three backends: the heaviest takes over": {
			`[{backendRefs: [{name: beta, weight: 10}, {name: shop, weight: 70}, {name: shop-canary, weight: 20}]}]`, "10 90 0",
			[]rollback.Weight{{Kind: "HTTPRoute", Name: "shop", From: "20", To: "0"}},
		},
		"several rules, one without a canary": {
			`[{backendRefs: [{name: shop, weight: 9}, {name: shop-canary, weight: 1}]}, {backendRefs: [{name: shop}]}, {backendRefs: [{name: shop-canary, weight: 5}, {name: shop, weight: 5}]}]`,
			"10 0 | - | 0 10",
			[]rollback.Weight{{Kind: "HTTPRoute", Name: "shop rule 1", From: "1", To: "0"}, {Kind: "HTTPRoute", Name: "shop rule 3", From: "5", To: "0"}},
		},
		"a rule with only the canary is named and left alone": {
			`[{backendRefs: [{name: shop-canary, weight: 1}]}, {backendRefs: [{name: shop, weight: 80}, {name: shop-canary, weight: 20}]}]`,
			"1 | 100 0",
			[]rollback.Weight{{Kind: "HTTPRoute", Name: "shop rule 2 (rule 1 leads only to the canary and is left alone)", From: "20", To: "0"}},
		},
		"several such rules, one of which is closed": {
			`[{backendRefs: [{name: shop-canary}]}, {backendRefs: [{name: shop-canary}]}, {backendRefs: [{name: shop-canary, weight: 0}]}, {backendRefs: [{name: shop, weight: 1}, {name: shop-canary, weight: 1}]}]`,
			"- | - | 0 | 2 0",
			[]rollback.Weight{{Kind: "HTTPRoute", Name: "shop rule 4 (rule 1, rule 2 lead only to the canary and are left alone)", From: "1", To: "0"}},
		},
		"already zero": {
			`[{backendRefs: [{name: shop, weight: 100}, {name: shop-canary, weight: 0}]}]`, "100 0",
			[]rollback.Weight{{Kind: "HTTPRoute", Name: "shop", From: "0", To: "0"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := rollback.Manifest{object(t, canaryService), httpRoute(t, c.rules)}
			r, live := routerWith(t, httpRoute(t, c.rules))
			for range 2 { // A second shed changes nothing and still knows the weights.
				changed, err := r.Shed(t.Context(), shop(), m, nil, nil)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(c.changed, changed); diff != "" {
					t.Errorf("the weights before and after (-want +got):\n%s", diff)
				}
				if got := listWeights(live()); got != c.shed {
					t.Errorf("after the shed the weights are %q, want %q", got, c.shed)
				}
				if routing, err := r.Observe(t.Context(), shop(), m, rollback.Stored); err != nil || routing.Open() || routing.Weights[0].Name != c.changed[0].Name {
					t.Errorf("after the shed every weight is zero: got %+v, %v", routing, err)
				}
			}
			held := httpRoute(t, c.rules)
			newRegistry().holdIn(m, rollback.Track{}, nil)(held)
			if got := listWeights(held); got != c.shed {
				t.Errorf("the object that Helm writes has the weights %q, want %q", got, c.shed)
			}
			if _, err := r.Restore(t.Context(), shop(), m, nil); err != nil {
				t.Fatal(err)
			}
			if got, want := numbers(listWeights(live())), numbers(listWeights(httpRoute(t, c.rules))); got != want {
				t.Errorf("restored to %q, want %q", got, want)
			}
			if held := (&unstructured.Unstructured{Object: live()}).GetAnnotations()[heldAnnotation]; held != "" {
				t.Errorf("after the restore nothing is held: got %s", held)
			}
		})
	}
}

// numbers replaces an absent weight with the default.
func numbers(weights string) string { return strings.ReplaceAll(weights, "-", "1") }

func TestHTTPRouteWithOnlyTheCanaryIsNotShed(t *testing.T) {
	rules := `[{backendRefs: [{name: shop, weight: 0}, {name: shop-canary, weight: 20}]}]`
	r, live := routerWith(t, httpRoute(t, rules))
	_, err := r.Shed(t.Context(), shop(), rollback.Manifest{object(t, canaryService), httpRoute(t, rules)}, nil, nil)
	if err == nil || listWeights(live()) != "0 20" {
		t.Errorf("err %v, weights %q; want an error and the weights as they were", err, listWeights(live()))
	}
}

func TestHTTPRouteWithOtherBackendsIsNotRestored(t *testing.T) {
	declared := `[{backendRefs: [{name: shop, weight: 80}, {name: shop-canary, weight: 20}]}]`
	changed := `[{backendRefs: [{name: shop-blue, weight: 100}, {name: shop-canary, weight: 0}]}]`
	r, live := routerWith(t, httpRoute(t, changed))
	_, err := r.Restore(t.Context(), shop(), rollback.Manifest{object(t, canaryService), httpRoute(t, declared)}, nil)
	if err == nil || listWeights(live()) != "100 0" {
		t.Errorf("err %v, weights %q; want an error and the weights as they were", err, listWeights(live()))
	}
}

func TestHTTPRouteWithoutACanaryIsLeftAlone(t *testing.T) {
	for name, rules := range map[string]string{
		"one backend":                     `[{backendRefs: [{name: shop-canary, weight: 20}]}]`,
		"no canary among the backends":    `[{backendRefs: [{name: shop, weight: 80}, {name: blog, weight: 20}]}]`,
		"a canary of another namespace":   `[{backendRefs: [{name: shop, weight: 80}, {name: shop-canary, namespace: other, weight: 20}]}]`,
		"a backend that is not a Service": `[{backendRefs: [{name: shop, weight: 80}, {name: shop-canary, kind: Bucket, weight: 20}]}]`,
	} {
		t.Run(name, func(t *testing.T) {
			r, live := routerWith(t, httpRoute(t, rules))
			before := listWeights(live())
			changed, err := r.Shed(t.Context(), shop(), rollback.Manifest{object(t, canaryService), httpRoute(t, rules)}, nil, nil)
			if err != nil || len(changed) > 0 || listWeights(live()) != before {
				t.Errorf("got %v, %v, weights %q; want no change", changed, err, listWeights(live()))
			}
		})
	}
}
