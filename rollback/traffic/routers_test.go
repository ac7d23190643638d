package traffic

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic/fake"
	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/rollback"
)

// live reads an object of the fake cluster as the kind's version has it.
func live(t *testing.T, client *fake.FakeDynamicClient, o rollback.Object) *unstructured.Unstructured {
	t.Helper()
	u := &unstructured.Unstructured{Object: o}
	gvk := u.GroupVersionKind()
	resource := gvk.GroupVersion().WithResource(kinds()[gvk.GroupKind()].resource)
	found, err := client.Resource(resource).Namespace("shop").Get(t.Context(), u.GetName(), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// shares renders the weights of every list of an object: "80 20 | 1 -".
func shares(o *unstructured.Unstructured) string {
	var lists []string
	for _, l := range kinds()[o.GroupVersionKind().GroupKind()].router.(weighted).listsOf(o) {
		var parts []string
		for _, e := range l.entries {
			part := "-"
			if w, ok := e.(map[string]any)["weight"]; ok {
				part = strings.TrimSpace(string(must(yaml.Marshal(w))))
			}
			parts = append(parts, part)
		}
		lists = append(lists, strings.Join(parts, " "))
	}
	return strings.Join(lists, " | ")
}

const (
	virtualService = `{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: shop}, spec: {hosts: [shop.example], `
	subsets        = `{apiVersion: networking.istio.io/v1, kind: DestinationRule, metadata: {name: shop}, spec: {host: shop.shop.svc.cluster.local, subsets: [{name: v1, labels: {track: stable}}, {name: v2, labels: {track: canary}}]}}`
	traefikService = `{apiVersion: traefik.io/v1alpha1, kind: TraefikService, metadata: {name: shop}, spec: {weighted: {services: `
	httpProxy      = `{apiVersion: projectcontour.io/v1, kind: HTTPProxy, metadata: {name: shop}, spec: `
)

// What each router means by the weights it has, by what a shed makes of them.
func TestRouters(t *testing.T) {
	for name, c := range map[string]struct {
		route string
		from  string // the canary's weight
		shed  string
	}{
		"Istio: short names":                       {virtualService + `http: [{route: [{destination: {host: shop}, weight: 80}, {destination: {host: shop-canary}, weight: 20}]}]}}`, "20", "100 0"},
		"Istio: names with namespaces":             {virtualService + `http: [{route: [{destination: {host: shop.shop.svc.cluster.local}, weight: 80}, {destination: {host: shop-canary.shop.svc}, weight: 20}]}]}}`, "20", "100 0"},
		"Istio: no weight is none":                 {virtualService + `http: [{route: [{destination: {host: shop}, weight: 100}, {destination: {host: shop-canary}}]}]}}`, "0", "100 -"},
		"Istio: tcp":                               {virtualService + `tcp: [{route: [{destination: {host: shop}, weight: 3}, {destination: {host: shop-canary}, weight: 1}]}]}}`, "1", "4 0"},
		"Istio: tls, and http without a canary":    {virtualService + `http: [{route: [{destination: {host: shop}}]}], tls: [{route: [{destination: {host: shop}, weight: 50}, {destination: {host: shop-canary}, weight: 50}]}]}}`, "50", "- | 100 0"},
		"Istio: subsets of a shared host":          {virtualService + `http: [{route: [{destination: {host: shop, subset: v1}, weight: 70}, {destination: {host: shop, subset: v2}, weight: 30}]}]}}`, "30", "100 0"},
		"Istio: a subset that nobody describes":    {virtualService + `http: [{route: [{destination: {host: other, subset: stable}, weight: 70}, {destination: {host: other, subset: canary}, weight: 30}]}]}}`, "30", "100 0"},
		"Traefik: a TraefikService":                {traefikService + `[{name: shop, port: 80, weight: 9}, {name: shop-canary, port: 80, weight: 1}]}}}`, "1", "10 0"},
		"Traefik: no weight is one":                {traefikService + `[{name: shop, port: 80}, {name: shop-canary, port: 80}]}}}`, "1", "2 0"},
		"Traefik: an explicit zero is zero":        {traefikService + `[{name: shop, port: 80, weight: 1}, {name: shop-canary, port: 80, weight: 0}]}}}`, "0", "1 0"},
		"Traefik: the services of an IngressRoute": {`{apiVersion: traefik.io/v1alpha1, kind: IngressRoute, metadata: {name: shop}, spec: {routes: [{match: a, services: [{name: shop}]}, {match: b, services: [{name: shop, weight: 5}, {name: shop-canary, weight: 5}]}]}}`, "5", "- | 10 0"},
		"Traefik 2": {`{apiVersion: traefik.containo.us/v1alpha1, kind: TraefikService, metadata: {name: shop}, spec: {weighted: {services: [{name: shop, weight: 3}, {name: shop-canary}]}}}`, "1", "4 0"},
		"Traefik: another TraefikService of the canary's name": {traefikService + `[{name: shop, port: 80, weight: 1}, {name: shop-canary, kind: TraefikService, weight: 1}]}}}`, "", "1 1"},
		"Contour: weights":                      {httpProxy + `{routes: [{services: [{name: shop, port: 80, weight: 80}, {name: shop-canary, port: 80, weight: 20}]}]}}`, "20", "100 0"},
		"Contour: no weight beside one is none": {httpProxy + `{routes: [{services: [{name: shop, port: 80, weight: 80}, {name: shop-canary, port: 80}]}]}}`, "0", "80 -"},
		"Contour: no weight at all is the same": {httpProxy + `{routes: [{services: [{name: shop, port: 80}, {name: beta, port: 80}, {name: shop-canary, port: 80}]}]}}`, "1", "2 1 0"},
		"Contour: a mirror is no backend":       {httpProxy + `{routes: [{services: [{name: shop, port: 80}, {name: beta, port: 80}, {name: shop-canary, port: 80, mirror: true}]}]}}`, "", "- - -"},
		"Contour: tcpproxy":                     {httpProxy + `{tcpproxy: {services: [{name: shop, port: 80, weight: 1}, {name: shop-canary, port: 80, weight: 1}]}}}`, "1", "2 0"},
		"Gateway API: gRPC":                     {`{apiVersion: gateway.networking.k8s.io/v1, kind: GRPCRoute, metadata: {name: shop}, spec: {rules: [{backendRefs: [{name: shop}, {name: shop-canary}]}]}}`, "1", "2 0"},
	} {
		t.Run(name, func(t *testing.T) {
			declared := object(t, c.route)
			m := rollback.Manifest{object(t, canaryService), object(t, subsets), declared}
			client := cluster(t, c.route)
			r := &Router{objects: client}
			before := shares(live(t, client, declared))
			seen, err := r.Look(t.Context(), shop(), m)
			if err != nil {
				t.Fatal(err)
			}
			told, err := r.Shed(t.Context(), shop(), m, nil)
			if err != nil {
				t.Fatal(err)
			}
			if c.from == "" {
				if len(told)+len(seen.Weights) > 0 {
					t.Errorf("this is no canary: got %v", told)
				}
			} else if len(told) != 1 || told[0].From != c.from || len(seen.Weights) != 1 || seen.Weights[0].To != c.from {
				t.Errorf("the canary's weight is %s: got %v, and %v in a look", c.from, told, seen.Weights)
			}
			if got := shares(live(t, client, declared)); got != c.shed {
				t.Errorf("after the shed of %s: %q, want %q", before, got, c.shed)
			}
			held := &unstructured.Unstructured{Object: object(t, c.route)}
			holdIn(m, nil)(held.Object)
			if got := shares(held); got != c.shed {
				t.Errorf("what Helm writes meanwhile: %q, want %q", got, c.shed)
			}
			raised, err := r.Raise(t.Context(), shop(), m, nil)
			if err != nil {
				t.Fatal(err)
			}
			if len(raised) > 0 && raised[0].To != c.from {
				t.Errorf("raised to %v, want %s", raised, c.from)
			}
			if again, err := r.Look(t.Context(), shop(), m); err != nil || !cmp.Equal(again.Weights, seen.Weights) {
				t.Errorf("after the raise the weights are as they were: got %v, %v", again.Weights, err)
			}
			if _, held := live(t, client, declared).GetAnnotations()[heldAnnotation]; held {
				t.Error("after the raise nothing is held")
			}
		})
	}
}

// Where nobody says which pods a subset is, nobody can say that none is ready.
func TestSubsetThatNobodyDescribes(t *testing.T) {
	route := virtualService + `http: [{route: [{destination: {host: other, subset: stable}, weight: 70}, {destination: {host: other, subset: canary}, weight: 30}]}]}}`
	m := rollback.Manifest{object(t, canaryService), object(t, route)}
	if got, err := (&Router{objects: cluster(t, route)}).Look(t.Context(), shop(), m); err != nil || got.NoStable != "" || !got.Open() {
		t.Errorf("got %+v, %v; want an open route, and nothing against the others", got, err)
	}
}

// A patch says which backend it is about: on a busy object, that is all that keeps
// it from the wrong one.
func TestPatchNamesTheBackend(t *testing.T) {
	for _, c := range []struct{ route, path, value string }{
		{route80(`[{name: shop}, {name: shop-canary}]`), "/spec/rules/0/backendRefs/1/name", "shop-canary"},
		{virtualService + `http: [{route: [{destination: {host: shop}, weight: 1}, {destination: {host: shop-canary.shop.svc}, weight: 1}]}]}}`, "/spec/http/0/route/1/destination/host", "shop-canary.shop.svc"},
		{virtualService + `http: [{route: [{destination: {host: shop, subset: v1}, weight: 1}, {destination: {host: shop, subset: v2}, weight: 1}]}]}}`, "/spec/http/0/route/1/destination/subset", "v2"},
	} {
		o := &unstructured.Unstructured{Object: object(t, c.route)}
		kind := kinds()[o.GroupVersionKind().GroupKind()]
		e, err := kind.router.shed(o, canaryOf(rollback.Manifest{object(t, canaryService), object(t, subsets)}))
		if want := (operation{Op: "test", Path: c.path, Value: c.value}); err != nil || !slices.Contains(e.operations, want) {
			t.Errorf("got %v, %v; want %v among them", e.operations, err, want)
		}
	}
}

// Hosts that are not the canary, though they look like it.
func TestIstioHosts(t *testing.T) {
	for host, want := range map[string]string{
		"shop-canary": "shop-canary", "shop-canary.shop": "shop-canary", "shop-canary.shop.svc": "shop-canary", "shop-canary.shop.svc.cluster.local": "shop-canary",
		"shop-canary.other": "", "shop-canary.other.svc.cluster.local": "", "shop-canary.shop.example": "", "shop-canary.shop.svcs": "",
	} {
		o := &unstructured.Unstructured{}
		o.SetNamespace("shop")
		if got := hostService(o, host); got != want {
			t.Errorf("the host %s is Service %q: got %q", host, want, got)
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
	told, err := (&Router{objects: client}).Shed(t.Context(), shop(), m, nil)
	if got := shares(live(t, client, object(t, route))); err != nil || len(told) != 1 || got != "100 0" {
		t.Errorf("told %v, %v, weights %q; want the subset of version v2 at zero", told, err, got)
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
		got, err := (&Router{objects: cluster(t, route, endpoints("shop", ready), pod(track))}).Look(t.Context(), shop(), m)
		if err != nil || got.NoStable != want {
			t.Errorf("the only ready pod is %s: got %q, %v; want %q", track, got.NoStable, err, want)
		}
	}
}

// Header and cookie rules lead to the canary whatever the weight is: the shed takes
// them away, and the raise brings back those that the release declares.
func TestIngressRules(t *testing.T) {
	const (
		prefix  = "nginx.ingress.kubernetes.io/"
		header  = prefix + "canary-by-header"
		value   = prefix + "canary-by-header-value"
		pattern = prefix + "canary-by-header-pattern"
		cookie  = prefix + "canary-by-cookie"
		rules   = "backout.dev/held-rules"
	)
	ingress := func(annotations map[string]string) rollback.Object {
		o := &unstructured.Unstructured{Object: object(t, canaryIngress(""))}
		all := o.GetAnnotations()
		maps.Copy(all, annotations)
		o.SetAnnotations(all)
		return o.Object
	}
	base := map[string]string{canaryMark: "true"}
	with := func(annotations map[string]string) map[string]string {
		all := maps.Clone(base)
		maps.Copy(all, annotations)
		return all
	}
	for name, c := range map[string]struct {
		live, shed map[string]string
		from       string
	}{
		"a header": {
			map[string]string{weightAnnotation: "20", header: "x-canary"},
			map[string]string{weightAnnotation: "0", heldAnnotation: "20 and header x-canary", rules: `{"` + header + `":"x-canary"}`},
			"20 and header x-canary",
		},
		"a header with a value, without a weight": {
			map[string]string{header: "x-canary", value: "yes"},
			map[string]string{weightAnnotation: "0", heldAnnotation: "0 and header x-canary", rules: `{"` + header + `":"x-canary","` + value + `":"yes"}`},
			"0 and header x-canary",
		},
		"a pattern and a cookie beside a weight of zero": {
			map[string]string{weightAnnotation: "0", header: "x-canary", pattern: "y.*", cookie: "beta"},
			map[string]string{weightAnnotation: "0", heldAnnotation: "0 and header x-canary and cookie beta", rules: `{"` + cookie + `":"beta","` + header + `":"x-canary","` + pattern + `":"y.*"}`},
			"0 and header x-canary and cookie beta",
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := ingress(c.live)
			client := cluster(t, string(must(yaml.Marshal(o))))
			r := &Router{objects: client}
			m := rollback.Manifest{ingress(c.live)}
			for range 2 {
				told, err := r.Shed(t.Context(), shop(), m, nil)
				if err != nil || len(told) != 1 || told[0].From != c.from || told[0].To != "0" {
					t.Errorf("told %v, %v; want %s -> 0", told, err, c.from)
				}
				if diff := cmp.Diff(with(c.shed), live(t, client, o).GetAnnotations()); diff != "" {
					t.Errorf("after the shed (-want +got):\n%s", diff)
				}
			}
			held := ingress(c.live)
			holdIn(m, nil)(held)
			if diff := cmp.Diff(with(map[string]string{weightAnnotation: "0"}), (&unstructured.Unstructured{Object: held}).GetAnnotations()); diff != "" {
				t.Errorf("what Helm writes meanwhile (-want +got):\n%s", diff)
			}
			if _, err := r.Raise(t.Context(), shop(), rollback.Manifest{ingress(map[string]string{weightAnnotation: "5"})}, nil); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(with(map[string]string{weightAnnotation: "5"}), live(t, client, o).GetAnnotations()); diff != "" {
				t.Errorf("a target without rules gets none back (-want +got):\n%s", diff)
			}
			if _, err := r.Shed(t.Context(), shop(), m, nil); err != nil {
				t.Fatal(err)
			}
			if _, err := r.Raise(t.Context(), shop(), m, nil); err != nil {
				t.Fatal(err)
			}
			want := with(c.live)
			want[weightAnnotation] = strings.Fields(c.from)[0]
			if diff := cmp.Diff(want, live(t, client, o).GetAnnotations()); diff != "" {
				t.Errorf("a target with the rules gets them back (-want +got):\n%s", diff)
			}
		})
	}
}
