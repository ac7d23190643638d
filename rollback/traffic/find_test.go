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

// backout finds the canary's routes, or says what an operator has to annotate.
func TestFindRoutes(t *testing.T) {
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
		changed        string // the weights, "" for none
		err            string
	}{
		"declared":                                    {[]string{canaryService, backendRefs(split)}, []string{backendRefs(split)}, "HTTPRoute/shop 20 -> 0", ""},
		"a canary that is its own release":            {[]string{canaryService, canaryPods}, []string{backendRefs(split)}, "HTTPRoute/shop 20 -> 0", ""},
		"its own release, by the name of its Service": {[]string{named}, []string{backendRefs(split)}, "HTTPRoute/shop 20 -> 0", ""},
		"with an Ingress of another release": {
			[]string{canaryService}, []string{ingressWeight("20"), stableIngress}, "Ingress/shop-canary 20 -> 0", "",
		},
		"another release's canary is left alone": {
			[]string{canaryService}, []string{strings.ReplaceAll(ingressWeight("20"), "{name: shop-canary}", "{name: blog-canary}")}, "", "",
		},
		"several canaries on one route: the release's own": {
			[]string{canaryService}, []string{backendRefs(`[{name: shop, weight: 70}, {name: beta-canary, weight: 10}, {name: shop-canary, weight: 20}]`)}, "HTTPRoute/shop 20 -> 0", "",
		},
		"named by a Service": {
			[]string{on(naming, "HTTPRoute/shop")}, []string{backendRefs(split)}, "HTTPRoute/shop 20 -> 0", "",
		},
		"named by a Service, and not there": {
			[]string{on(naming, "HTTPRoute/other")}, []string{backendRefs(split)}, "", "names HTTPRoute/other, which does not exist in namespace shop",
		},
		"named by a Service, of an unknown kind": {
			[]string{on(naming, "Rout/shop")}, []string{backendRefs(split)}, "", "want Kind/name, such as HTTPRoute/shop",
		},
		"an annotation on a route of the release": {
			[]string{on(annotated, "shop-b"), serviceA, serviceB, canaryPods}, []string{on(annotated, "shop-b")}, "HTTPRoute/shop 20 -> 0", "",
		},
		"an annotation wins over names": {
			[]string{on(annotated, "shop-a"), serviceA, serviceB, named}, []string{on(annotated, "shop-a")}, "HTTPRoute/shop 80 -> 0", "",
		},
		"an annotation on a live route counts for the release whose Service it names": {
			[]string{elsewhere}, []string{on(annotated, "shop-b")}, "HTTPRoute/shop 20 -> 0", "",
		},
		"and not for another release": {
			[]string{canaryService}, []string{on(annotated, "shop-b")}, "", "",
		},
		"two Services could be the canary's": {
			[]string{unannotated, serviceA, serviceB, canaryPods}, []string{unannotated}, "", "HTTPRoute shop/shop: which backend is the canary, shop-a or shop-b? Set the annotation backout.dev/canary",
		},
		"two names could be the canary's": {
			[]string{beta, named, backendRefs(`[{name: shop, weight: 1}, {name: beta-canary, weight: 1}, {name: shop-canary, weight: 1}]`)},
			[]string{backendRefs(`[{name: shop, weight: 1}, {name: beta-canary, weight: 1}, {name: shop-canary, weight: 1}]`)},
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
			[]string{canaryPods, sharedService}, []string{backendRefs(split)}, "", "",
		},
		"a Service that selects only canary pods is the canary's, whatever its name": {
			[]string{canaryPods, stablePods, byPods, backendRefs(versions)}, []string{backendRefs(versions)}, "HTTPRoute/shop 20 -> 0", "",
		},
		"the same by the name of the Deployment": {
			[]string{strings.ReplaceAll(canaryPods, "track: canary", "a: b"), strings.ReplaceAll(stablePods, "track: stable", "a: b"), byPods, backendRefs(versions)}, []string{backendRefs(versions)}, "HTTPRoute/shop 20 -> 0", "",
		},
		"alone behind the plain Service of another release": {
			[]string{canaryPods}, []string{sharedService, canaryPods, deployment("blog-canary", "canary", "1", 1)}, "", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := manifest(t, c.manifest...)
			client := cluster(t, c.live...)
			r := routerOn(client)
			changed, err := r.Shed(t.Context(), shop(), m, nil, nil)
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Fatalf("got error %v, want %q", err, c.err)
			}
			var texts []string
			for _, w := range changed {
				texts = append(texts, w.String())
			}
			if got := strings.Join(texts, ", "); got != c.changed {
				t.Fatalf("got %q, want %q", got, c.changed)
			}
			if c.changed == "" {
				for _, a := range client.Actions() {
					if a.GetVerb() == "patch" {
						t.Errorf("an ambiguous route is not written: got %v", a)
					}
				}
				return
			}
			// A route that no manifest declares gets back the weight that the shed found.
			restored, err := r.Restore(t.Context(), shop(), m, nil)
			if from := strings.Fields(c.changed)[1]; err != nil || len(restored) != 1 || restored[0].To != from {
				t.Errorf("restored to %v, %v; want %s", restored, err, from)
			}
			if again, err := r.Restore(t.Context(), shop(), m, nil); err != nil || len(again) != 1 || again[0].From != again[0].To {
				t.Errorf("a second restore changes nothing: got %v, %v", again, err)
			}
		})
	}
}

// An operator annotates the live route: the manifest of a revision cannot be changed any
// more.
func TestAnnotationOnTheLiveRoute(t *testing.T) {
	const (
		declared = `{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: shop}, spec: {rules: [{backendRefs: [{name: shop-a, weight: 80}, {name: shop-b, weight: 20}]}]}}`
		serviceA = `{apiVersion: v1, kind: Service, metadata: {name: shop-a}, spec: {selector: {app: a}}}`
		serviceB = `{apiVersion: v1, kind: Service, metadata: {name: shop-b}, spec: {selector: {app: b}}}`
	)
	chosen := strings.Replace(declared, "name: shop}", "name: shop, annotations: {backout.dev/canary: shop-b}}", 1)
	m := rollback.Manifest{object(t, declared), object(t, serviceA), object(t, serviceB), object(t, deployment("shop-canary", "canary", "1", 1))}
	client := cluster(t, chosen, endpoints("shop-a", ready))
	r := routerOn(client)
	if routing, err := r.Observe(t.Context(), shop(), m, rollback.Stored); err != nil || !routing.Open() || routing.Load != 1.25 {
		t.Errorf("observed %+v, %v; want the weight of shop-b", routing, err)
	}
	if changed, err := r.Shed(t.Context(), shop(), m, nil, nil); err != nil || len(changed) != 1 || listWeights(liveObject(t, client, object(t, declared)).Object) != "100 0" {
		t.Errorf("shed: got %v, %v; want shop-b at zero", changed, err)
	}
	if restored, err := r.Restore(t.Context(), shop(), m, nil); err != nil || len(restored) != 1 || listWeights(liveObject(t, client, object(t, declared)).Object) != "80 20" {
		t.Errorf("restore: got %v, %v; want the declared weights", restored, err)
	}
	hold, err := r.Hold(t.Context(), shop(), m)
	written := object(t, declared)
	if hold(written); err != nil || listWeights(written) != "100 0" {
		t.Errorf("the object that Helm writes has the weights %q, %v; want shop-b at zero", listWeights(written), err)
	}
	if changed, err := routerOn(cluster(t)).Shed(t.Context(), shop(), m, nil, nil); err != nil || len(changed) > 0 {
		t.Errorf("a route that is gone needs no annotation: got %v, %v", changed, err)
	}
	none := strings.Replace(declared, "name: shop}", "name: shop, annotations: {backout.dev/canary: ' ,'}}", 1)
	if changed, err := routerOn(cluster(t, none)).Shed(t.Context(), shop(), m, nil, nil); err == nil || len(changed) > 0 {
		t.Errorf("an annotation without a name chooses no backend: got %v, %v", changed, err)
	}
}

// An empty name in the annotation is not that of a backend without a name.
func TestTrailingCommaInTheAnnotation(t *testing.T) {
	const text = `{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: shop, annotations: {backout.dev/canary: "shop-canary,"}}, spec: {rules: [{backendRefs: [{name: legacy, namespace: other, weight: 30}, {name: shop, weight: 50}, {name: shop-canary, weight: 20}]}]}}`
	client := cluster(t, text)
	changed, err := routerOn(client).Shed(t.Context(), shop(), rollback.Manifest{object(t, canaryService), object(t, text)}, nil, nil)
	if got := listWeights(liveObject(t, client, object(t, text)).Object); err != nil || len(changed) != 1 || changed[0].From != "20" || got != "30 70 0" {
		t.Errorf("got %v, %v, weights %q; want only shop-canary at zero", changed, err, got)
	}
}

// The canary's route may be of a kind that backout may not list.
func TestFindRoutesWithoutARight(t *testing.T) {
	client := cluster(t)
	client.PrependReactor("list", "virtualservices", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "virtualservices"}, "", errors.New("no"))
	})
	_, err := routerOn(client).Shed(t.Context(), shop(), rollback.Manifest{object(t, canaryService)}, nil, nil)
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "allow backout to list virtualservices.networking.istio.io in namespace shop") {
		t.Errorf("got %v, want the resource and the missing right", err)
	}
	client = cluster(t, backendRefs(`[{name: shop, weight: 80}, {name: shop-canary, weight: 20}]`))
	client.PrependReactor("list", "virtualservices", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "virtualservices"}, "", errors.New("no"))
	})
	if changed, err := routerOn(client).Shed(t.Context(), shop(), rollback.Manifest{object(t, canaryService)}, nil, nil); err != nil || len(changed) != 1 {
		t.Errorf("one route of another kind is enough: got %v, %v", changed, err)
	}
}

// An operator's weight wins over the held one: on a route that no manifest declares, a
// restore keeps it.
func TestRestoreKeepsAnOperatorsWeight(t *testing.T) {
	const edited = `{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: shop, annotations: {backout.dev/held-weight: '{"rule 1":{"shop-canary":{"weight":20,"takeover":"shop"}}}'}}, spec: {rules: [{backendRefs: [{name: shop, weight: 95}, {name: shop-canary, weight: 5}]}]}}`
	client := cluster(t, edited)
	restored, err := routerOn(client).Restore(t.Context(), shop(), rollback.Manifest{object(t, canaryService)}, nil)
	o := liveObject(t, client, object(t, edited))
	if err != nil || len(restored) != 1 || restored[0].To != "5" || listWeights(o.Object) != "95 5" || o.GetAnnotations()[heldAnnotation] != "" {
		t.Errorf("got %v, %v, weights %q, annotations %v; want 5 as before, and nothing held", restored, err, listWeights(o.Object), o.GetAnnotations())
	}
}

// Held weights of other backends do not say what to restore.
func TestRestoreOfAChangedRoute(t *testing.T) {
	const changed = `{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: shop, annotations: {backout.dev/held-weight: '{"rule 1":{"shop-canary":{"weight":20,"takeover":"shop"}}}'}}, spec: {rules: [{backendRefs: [{name: shop-blue, weight: 100}, {name: shop-canary, weight: 0}]}]}}`
	client := cluster(t, changed)
	_, err := routerOn(client).Restore(t.Context(), shop(), rollback.Manifest{object(t, canaryService)}, nil)
	o := liveObject(t, client, object(t, changed))
	if err == nil || !strings.Contains(err.Error(), "set the weights manually") || listWeights(o.Object) != "100 0" || o.GetAnnotations()[heldAnnotation] == "" {
		t.Errorf("got %v, weights %q, annotations %v; want an error and no change", err, listWeights(o.Object), o.GetAnnotations())
	}
}
