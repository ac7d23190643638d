package traffic

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/rollback"
)

func shop() rollback.Key { return rollback.Key{Namespace: "shop", Release: "shop"} }

func httpRoutes() schema.GroupVersionResource {
	return schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"}
}

// canaryService makes shop-canary the canary.
const canaryService = `{apiVersion: v1, kind: Service, metadata: {name: shop-canary}, spec: {selector: {track: canary}}}`

func object(t *testing.T, text string) rollback.Object {
	t.Helper()
	var o rollback.Object
	if err := yaml.Unmarshal([]byte(text), &o); err != nil {
		t.Fatal(err)
	}
	return o
}

func httpRoute(t *testing.T, rules string) rollback.Object {
	t.Helper()
	return object(t, `{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: shop, namespace: shop, resourceVersion: "7"}, spec: {rules: `+rules+`}}`)
}

// weights renders the rules' weights as "60 20 | 1 0".
func weights(o rollback.Object) string {
	var rules []string
	for _, rule := range gatewayAPI().listsOf(&unstructured.Unstructured{Object: o}) {
		var refs []string
		for _, b := range rule.entries {
			text := "-"
			if w, ok := b.(map[string]any)["weight"]; ok {
				text = strings.TrimSpace(string(must(yaml.Marshal(w))))
			}
			refs = append(refs, text)
		}
		rules = append(rules, strings.Join(refs, " "))
	}
	return strings.Join(rules, " | ")
}

func must(text []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return text
}

// Every legal form of weights is shed to zero with its sum kept, held at zero in
// what Helm writes, and raised to what the release declares.
func TestHTTPRouteWeights(t *testing.T) {
	for name, c := range map[string]struct {
		rules, shed string
		told        []rollback.Weight
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
		"three backends: the heaviest takes it": {
			`[{backendRefs: [{name: beta, weight: 10}, {name: shop, weight: 70}, {name: shop-canary, weight: 20}]}]`, "10 90 0",
			[]rollback.Weight{{Kind: "HTTPRoute", Name: "shop", From: "20", To: "0"}},
		},
		"several rules, one without a canary": {
			`[{backendRefs: [{name: shop, weight: 9}, {name: shop-canary, weight: 1}]}, {backendRefs: [{name: shop}]}, {backendRefs: [{name: shop-canary, weight: 5}, {name: shop, weight: 5}]}]`,
			"10 0 | - | 0 10",
			[]rollback.Weight{{Kind: "HTTPRoute", Name: "shop rule 1", From: "1", To: "0"}, {Kind: "HTTPRoute", Name: "shop rule 3", From: "5", To: "0"}},
		},
		"a rule with nobody but the canary is told, and left alone": {
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
			for range 2 { // a second shed changes nothing and still knows the weights
				told, err := r.Shed(t.Context(), shop(), m, nil)
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(c.told, told); diff != "" {
					t.Errorf("weights told (-want +got):\n%s", diff)
				}
				if got := weights(live()); got != c.shed {
					t.Errorf("after the shed the weights are %q, want %q", got, c.shed)
				}
				if seen, err := r.Look(t.Context(), shop(), m); err != nil || seen.Open() || seen.Weights[0].Name != c.told[0].Name {
					t.Errorf("after the shed nobody has raised a weight: got %+v, %v", seen, err)
				}
			}
			held := httpRoute(t, c.rules)
			holdIn(m, nil)(held)
			if got := weights(held); got != c.shed {
				t.Errorf("held while Helm writes: %q, want %q", got, c.shed)
			}
			if _, err := r.Raise(t.Context(), shop(), m, nil); err != nil {
				t.Fatal(err)
			}
			if got, want := numbers(weights(live())), numbers(weights(httpRoute(t, c.rules))); got != want {
				t.Errorf("raised to %q, want %q", got, want)
			}
			if mark := (&unstructured.Unstructured{Object: live()}).GetAnnotations()[heldAnnotation]; mark != "" {
				t.Errorf("the mark of the hold is still there: %s", mark)
			}
		})
	}
}

// numbers writes the default weight out.
func numbers(weights string) string { return strings.ReplaceAll(weights, "-", "1") }

func TestHTTPRouteThatLeadsNowhereElseIsNotShed(t *testing.T) {
	rules := `[{backendRefs: [{name: shop, weight: 0}, {name: shop-canary, weight: 20}]}]`
	r, live := routerWith(t, httpRoute(t, rules))
	_, err := r.Shed(t.Context(), shop(), rollback.Manifest{object(t, canaryService), httpRoute(t, rules)}, nil)
	if err == nil || weights(live()) != "0 20" {
		t.Errorf("err %v, weights %q; want an error and the weights as they were", err, weights(live()))
	}
}

func TestHTTPRouteThatSomebodyChangedIsNotRaised(t *testing.T) {
	declared := `[{backendRefs: [{name: shop, weight: 80}, {name: shop-canary, weight: 20}]}]`
	changed := `[{backendRefs: [{name: shop-blue, weight: 100}, {name: shop-canary, weight: 0}]}]`
	r, live := routerWith(t, httpRoute(t, changed))
	_, err := r.Raise(t.Context(), shop(), rollback.Manifest{object(t, canaryService), httpRoute(t, declared)}, nil)
	if err == nil || weights(live()) != "100 0" {
		t.Errorf("err %v, weights %q; want an error and the weights as they were", err, weights(live()))
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
			before := weights(live())
			told, err := r.Shed(t.Context(), shop(), rollback.Manifest{object(t, canaryService), httpRoute(t, rules)}, nil)
			if err != nil || len(told) > 0 || weights(live()) != before {
				t.Errorf("told %v, err %v, weights %q; want nothing done", told, err, weights(live()))
			}
		})
	}
}

// routerWith returns a router on a cluster with that one object, and a look at it.
func routerWith(t *testing.T, o rollback.Object) (*Router, func() rollback.Object) {
	t.Helper()
	client := cluster(t, string(must(yaml.Marshal(o))))
	return &Router{objects: client}, func() rollback.Object {
		live, err := client.Resource(httpRoutes()).Namespace("shop").Get(t.Context(), "shop", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return live.Object
	}
}
