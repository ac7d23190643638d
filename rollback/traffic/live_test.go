package traffic

import (
	"errors"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clienttesting "k8s.io/client-go/testing"

	"github.com/upcommerce/backout/rollback"
)

// Where the canary's routes are found, and where a person has to say it.
func TestRoutesFound(t *testing.T) {
	const (
		split       = `[{name: shop, weight: 80}, {name: shop-canary, weight: 20}]`
		versions    = `[{name: shop-v1, weight: 80}, {name: shop-v2, weight: 20}]`
		byPods      = `{apiVersion: v1, kind: Service, metadata: {name: shop-v2}, spec: {selector: {app: shop, deployment: shop-canary}}}`
		annotated   = `{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: shop, annotations: {backout.dev/canary: %}}, spec: {rules: [{backendRefs: [{name: shop-a, weight: 80}, {name: shop-b, weight: 20}]}]}}`
		unannotated = `{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: shop}, spec: {rules: [{backendRefs: [{name: shop-a, weight: 80}, {name: shop-b, weight: 20}]}]}}`
		serviceA    = `{apiVersion: v1, kind: Service, metadata: {name: shop-a}, spec: {selector: {app: a}}}`
		serviceB    = `{apiVersion: v1, kind: Service, metadata: {name: shop-b}, spec: {selector: {app: b}}}`
		beta        = `{apiVersion: v1, kind: Service, metadata: {name: beta-canary}}`
		named       = `{apiVersion: v1, kind: Service, metadata: {name: shop-canary}}`
		naming      = `{apiVersion: v1, kind: Service, metadata: {name: shop-canary, annotations: {backout.dev/route: %}}, spec: {selector: {track: canary}}}`
		elsewhere   = `{apiVersion: v1, kind: Service, metadata: {name: shop-b, annotations: {backout.dev/route: HTTPRoute/shop}}}`
	)
	canaryPods, stablePods := deployment("shop-canary", "canary", "1", 1), deployment("shop", "stable", "1", 1)
	on := func(text, value string) string { return strings.ReplaceAll(text, "%", value) }
	for name, c := range map[string]struct {
		manifest, live []string
		told           string // the weights, "" for none
		err            string
	}{
		"declared":                         {[]string{canaryService, route80(split)}, []string{route80(split)}, "HTTPRoute/shop 20 -> 0", ""},
		"a canary that is its own release": {[]string{canaryService, canaryPods}, []string{route80(split)}, "HTTPRoute/shop 20 -> 0", ""},
		"so by the name of its Service":    {[]string{named}, []string{route80(split)}, "HTTPRoute/shop 20 -> 0", ""},
		"with an Ingress of another release": {
			[]string{canaryService}, []string{ingressWeight("20"), stableIngress}, "Ingress/shop-canary 20 -> 0", "",
		},
		"another release's canary is left alone": {
			[]string{canaryService}, []string{strings.ReplaceAll(ingressWeight("20"), "{name: shop-canary}", "{name: blog-canary}")}, "", "",
		},
		"several canaries on one route: the accused release's": {
			[]string{canaryService}, []string{route80(`[{name: shop, weight: 70}, {name: beta-canary, weight: 10}, {name: shop-canary, weight: 20}]`)}, "HTTPRoute/shop 20 -> 0", "",
		},
		"named by a Service": {
			[]string{on(naming, "HTTPRoute/shop")}, []string{route80(split)}, "HTTPRoute/shop 20 -> 0", "",
		},
		"named by a Service, and not there": {
			[]string{on(naming, "HTTPRoute/other")}, []string{route80(split)}, "", "names HTTPRoute/other, which namespace shop has not",
		},
		"named by a Service, of a kind that is none": {
			[]string{on(naming, "Rout/shop")}, []string{route80(split)}, "", "want Kind/name, such as HTTPRoute/shop",
		},
		"a person's word on a route of the release": {
			[]string{on(annotated, "shop-b"), serviceA, serviceB, canaryPods}, []string{on(annotated, "shop-b")}, "HTTPRoute/shop 20 -> 0", "",
		},
		"a person's word wins over names": {
			[]string{on(annotated, "shop-a"), serviceA, serviceB, named}, []string{on(annotated, "shop-a")}, "HTTPRoute/shop 80 -> 0", "",
		},
		"a person's word on a live route counts for the release whose Service it names": {
			[]string{elsewhere}, []string{on(annotated, "shop-b")}, "HTTPRoute/shop 20 -> 0", "",
		},
		"and not for another release": {
			[]string{canaryService}, []string{on(annotated, "shop-b")}, "", "",
		},
		"two Services could be the canary's": {
			[]string{unannotated, serviceA, serviceB, canaryPods}, []string{unannotated}, "", "HTTPRoute shop/shop: which backend is the canary, shop-a or shop-b? Set the annotation backout.dev/canary",
		},
		"two names could be the canary's": {
			[]string{beta, named, route80(`[{name: shop, weight: 1}, {name: beta-canary, weight: 1}, {name: shop-canary, weight: 1}]`)},
			[]string{route80(`[{name: shop, weight: 1}, {name: beta-canary, weight: 1}, {name: shop-canary, weight: 1}]`)},
			"", "beta-canary or shop-canary",
		},
		"two backends and no canary at all": {
			[]string{unannotated, serviceA, serviceB}, []string{unannotated}, "", "",
		},
		"behind the plain Service of another release": {
			[]string{canaryPods}, []string{sharedService, canaryPods, stablePods}, "Deployment/shop-canary 1 -> 0", "",
		},
		"behind it with the canary of yet another release": {
			[]string{canaryPods}, []string{sharedService, canaryPods, stablePods, deployment("blog-canary", "canary", "1", 1)}, "Deployment/shop-canary 1 -> 0", "",
		},
		"a Service that selects the canary's pods may select others' too": {
			[]string{canaryPods, sharedService}, []string{route80(split)}, "", "",
		},
		"a Service that selects only canary pods is the canary's, whatever its name": {
			[]string{canaryPods, stablePods, byPods, route80(versions)}, []string{route80(versions)}, "HTTPRoute/shop 20 -> 0", "",
		},
		"so by the name of its Deployment": {
			[]string{strings.ReplaceAll(canaryPods, "track: canary", "a: b"), strings.ReplaceAll(stablePods, "track: stable", "a: b"), byPods, route80(versions)}, []string{route80(versions)}, "HTTPRoute/shop 20 -> 0", "",
		},
		"alone behind the plain Service of another release": {
			[]string{canaryPods}, []string{sharedService, canaryPods, deployment("blog-canary", "canary", "1", 1)}, "", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var m rollback.Manifest
			for _, text := range c.manifest {
				m = append(m, object(t, text))
			}
			client := cluster(t, c.live...)
			r := &Router{objects: client}
			told, err := r.Shed(t.Context(), shop(), m, nil)
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Fatalf("got error %v, want %q", err, c.err)
			}
			var texts []string
			for _, w := range told {
				texts = append(texts, w.String())
			}
			if got := strings.Join(texts, ", "); got != c.told {
				t.Fatalf("told %q, want %q", got, c.told)
			}
			if c.told == "" {
				for _, a := range client.Actions() {
					if a.GetVerb() == "patch" {
						t.Errorf("what is not decided is not touched: got %v", a)
					}
				}
				return
			}
			// What no manifest declares goes back to what the shed found.
			raised, err := r.Raise(t.Context(), shop(), m, nil)
			if from, _, _ := strings.Cut(strings.Fields(c.told)[1], " "); err != nil || len(raised) != 1 || raised[0].To != from {
				t.Errorf("raised to %v, %v; want %s", raised, err, from)
			}
			if again, err := r.Raise(t.Context(), shop(), m, nil); err != nil || len(again) != 1 || again[0].From != again[0].To {
				t.Errorf("a second raise changes nothing: got %v, %v", again, err)
			}
		})
	}
}

// A person answers on the live route: the manifest of a revision cannot be changed
// any more.
func TestAnswerOnTheLiveRoute(t *testing.T) {
	const (
		declared = `{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: shop}, spec: {rules: [{backendRefs: [{name: shop-a, weight: 80}, {name: shop-b, weight: 20}]}]}}`
		serviceA = `{apiVersion: v1, kind: Service, metadata: {name: shop-a}, spec: {selector: {app: a}}}`
		serviceB = `{apiVersion: v1, kind: Service, metadata: {name: shop-b}, spec: {selector: {app: b}}}`
	)
	answered := strings.Replace(declared, "name: shop}", "name: shop, annotations: {backout.dev/canary: shop-b}}", 1)
	m := rollback.Manifest{object(t, declared), object(t, serviceA), object(t, serviceB), object(t, deployment("shop-canary", "canary", "1", 1))}
	client := cluster(t, answered, endpoints("shop-a", ready))
	r := &Router{objects: client}
	if seen, err := r.Look(t.Context(), shop(), m); err != nil || !seen.Open() || seen.Load != 1.25 {
		t.Errorf("a look: %+v, %v; want the weight of shop-b", seen, err)
	}
	if told, err := r.Shed(t.Context(), shop(), m, nil); err != nil || len(told) != 1 || shares(live(t, client, object(t, declared))) != "100 0" {
		t.Errorf("shed: told %v, %v; want shop-b at zero", told, err)
	}
	if told, err := r.Raise(t.Context(), shop(), m, nil); err != nil || len(told) != 1 || shares(live(t, client, object(t, declared))) != "80 20" {
		t.Errorf("raise: told %v, %v; want the declared weights", told, err)
	}
	hold, err := r.Hold(t.Context(), shop(), m)
	written := object(t, declared)
	if hold(written); err != nil || weights(written) != "100 0" {
		t.Errorf("what Helm writes meanwhile: %q, %v; want shop-b at zero", weights(written), err)
	}
	if told, err := (&Router{objects: cluster(t)}).Shed(t.Context(), shop(), m, nil); err != nil || len(told) > 0 {
		t.Errorf("a route that is gone asks nobody: told %v, %v", told, err)
	}
	none := strings.Replace(declared, "name: shop}", "name: shop, annotations: {backout.dev/canary: ' ,'}}", 1)
	if told, err := (&Router{objects: cluster(t, none)}).Shed(t.Context(), shop(), m, nil); err == nil || len(told) > 0 {
		t.Errorf("an answer without a name is none: told %v, %v", told, err)
	}
}

// An empty name among those that a person wrote is nobody's.
func TestTrailingComma(t *testing.T) {
	const text = `{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: shop, annotations: {backout.dev/canary: "shop-canary,"}}, spec: {rules: [{backendRefs: [{name: legacy, namespace: other, weight: 30}, {name: shop, weight: 50}, {name: shop-canary, weight: 20}]}]}}`
	client := cluster(t, text)
	told, err := (&Router{objects: client}).Shed(t.Context(), shop(), rollback.Manifest{object(t, canaryService), object(t, text)}, nil)
	if got := shares(live(t, client, object(t, text))); err != nil || len(told) != 1 || told[0].From != "20" || got != "30 70 0" {
		t.Errorf("told %v, %v, weights %q; want shop-canary alone at zero", told, err, got)
	}
}

// What may not be listed may hide the canary's route.
func TestRoutesThatMayNotBeListed(t *testing.T) {
	client := cluster(t)
	client.PrependReactor("list", "virtualservices", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "virtualservices"}, "", errors.New("no"))
	})
	_, err := (&Router{objects: client}).Shed(t.Context(), shop(), rollback.Manifest{object(t, canaryService)}, nil)
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "allow backout to list virtualservices.networking.istio.io in namespace shop") {
		t.Errorf("got %v, want the resource and what to allow", err)
	}
	client = cluster(t, route80(`[{name: shop, weight: 80}, {name: shop-canary, weight: 20}]`))
	client.PrependReactor("list", "virtualservices", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "virtualservices"}, "", errors.New("no"))
	})
	if told, err := (&Router{objects: client}).Shed(t.Context(), shop(), rollback.Manifest{object(t, canaryService)}, nil); err != nil || len(told) != 1 {
		t.Errorf("a route that was found is enough: got %v, %v", told, err)
	}
}

// A person who raises a held weight has the last word: a raise of a route that no
// manifest declares leaves it.
func TestRaiseLeavesAPersonsWeight(t *testing.T) {
	const raised = `{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: shop, annotations: {backout.dev/held-weight: '{"rule 1":{"shop-canary":{"weight":20,"heir":"shop"}}}'}}, spec: {rules: [{backendRefs: [{name: shop, weight: 95}, {name: shop-canary, weight: 5}]}]}}`
	client := cluster(t, raised)
	told, err := (&Router{objects: client}).Raise(t.Context(), shop(), rollback.Manifest{object(t, canaryService)}, nil)
	o := live(t, client, object(t, raised))
	if err != nil || len(told) != 1 || told[0].To != "5" || shares(o) != "95 5" || o.GetAnnotations()[heldAnnotation] != "" {
		t.Errorf("got %v, %v, weights %q, annotations %v; want 5 as it is, and no mark", told, err, shares(o), o.GetAnnotations())
	}
}

// A mark that is about other backends is no help to anybody.
func TestRaiseOfAChangedRoute(t *testing.T) {
	const changed = `{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: shop, annotations: {backout.dev/held-weight: '{"rule 1":{"shop-canary":{"weight":20,"heir":"shop"}}}'}}, spec: {rules: [{backendRefs: [{name: shop-blue, weight: 100}, {name: shop-canary, weight: 0}]}]}}`
	client := cluster(t, changed)
	_, err := (&Router{objects: client}).Raise(t.Context(), shop(), rollback.Manifest{object(t, canaryService)}, nil)
	o := live(t, client, object(t, changed))
	if err == nil || !strings.Contains(err.Error(), "set the weights by hand") || shares(o) != "100 0" || o.GetAnnotations()[heldAnnotation] == "" {
		t.Errorf("got %v, weights %q, annotations %v; want an error, and everything as it was", err, shares(o), o.GetAnnotations())
	}
}
