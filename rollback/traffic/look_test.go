package traffic

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic/fake"
	clienttesting "k8s.io/client-go/testing"
	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/rollback"
)

// cluster is a fake one that holds the objects, all of namespace shop.
func cluster(t *testing.T, objects ...string) *fake.FakeDynamicClient {
	t.Helper()
	lists := map[schema.GroupVersionResource]string{
		{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"}:           "EndpointSliceList",
		{Version: "v1", Resource: "pods"}:                                                "PodList",
		{Version: "v1", Resource: "services"}:                                            "ServiceList",
		{Group: "apps", Version: "v1", Resource: "deployments"}:                          "DeploymentList",
		{Group: "apps", Version: "v1", Resource: "daemonsets"}:                           "DaemonSetList",
		{Group: "apps", Version: "v1", Resource: "statefulsets"}:                         "StatefulSetList",
		{Group: "networking.istio.io", Version: "v1beta1", Resource: "destinationrules"}: "DestinationRuleList",
	}
	for group, kind := range kinds() {
		for _, version := range []string{"v1", "v1alpha1", "v1beta1"} {
			lists[schema.GroupVersionResource{Group: group.Group, Version: version, Resource: kind.resource}] = group.Kind + "List"
		}
	}
	var all []runtime.Object
	for _, o := range objects {
		u := &unstructured.Unstructured{Object: object(t, o)}
		u.SetNamespace("shop")
		u.SetResourceVersion("7")
		all = append(all, u)
	}
	return fake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), lists, all...)
}

// endpoints is a slice of the Service's with one endpoint, whose conditions are
// given.
func endpoints(service, conditions string) string {
	return `{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, metadata: {name: ` + service + `-1, labels: {kubernetes.io/service-name: ` + service + `}},
		endpoints: [{addresses: [10.0.0.9], conditions: ` + conditions + `, targetRef: {kind: Pod, name: ` + service + `-0}}]}`
}

// Live objects of the cases.
const (
	stableIngress = `{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: shop}, spec: {rules: [{host: shop.example, http: {paths: [{path: /, backend: {service: {name: shop}}}]}}]}}`
	ready         = `{ready: true}`
	unready       = `{ready: false}`
)

func canaryIngress(annotations string) string {
	return `{apiVersion: networking.k8s.io/v1, kind: Ingress, metadata: {name: shop-canary, annotations: {nginx.ingress.kubernetes.io/canary: "true"` + annotations + `}},
		spec: {rules: [{host: shop.example, http: {paths: [{path: /, backend: {service: {name: shop-canary}}}]}}]}}`
}

func route80(refs string) string {
	return `{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: shop}, spec: {rules: [{backendRefs: ` + refs + `}]}}`
}

func ingressWeight(w string) string {
	return canaryIngress(`, nginx.ingress.kubernetes.io/canary-weight: "` + w + `"`)
}

// What Look says of one live route, and of who would take its traffic.
func TestLook(t *testing.T) {
	told := func(kind, name, weight string) []rollback.Weight {
		return []rollback.Weight{{Kind: kind, Name: name, From: weight, To: weight}}
	}
	route := func(weight string) []rollback.Weight { return told("HTTPRoute", "shop", weight) }
	ingress := func(weight string) []rollback.Weight { return told("Ingress", "shop-canary", weight) }
	for name, c := range map[string]struct {
		live []string
		want rollback.Routing
	}{
		"a fifth of the traffic: a quarter more for the others": {
			[]string{route80(`[{name: shop, weight: 80}, {name: shop-canary, weight: 20}]`), endpoints("shop", ready)},
			rollback.Routing{Weights: route("20"), Load: 1.25},
		},
		"60 of 100: two and a half times": {
			[]string{route80(`[{name: shop, weight: 40}, {name: shop-canary, weight: 60}]`), endpoints("shop", ready)},
			rollback.Routing{Weights: route("60"), Load: 2.5},
		},
		"no word about readiness is readiness": {
			[]string{route80(`[{name: shop, weight: 1}, {name: shop-canary, weight: 1}]`), endpoints("shop", "{}")},
			rollback.Routing{Weights: route("1"), Load: 2},
		},
		"the canary has everything": {
			[]string{route80(`[{name: shop, weight: 0}, {name: shop-canary, weight: 20}]`), endpoints("shop", ready)},
			rollback.Routing{Weights: route("20"), Load: 1, NoStable: "no other backend of HTTPRoute shop has a weight"},
		},
		"nobody is ready": {
			[]string{route80(`[{name: shop, weight: 80}, {name: shop-canary, weight: 20}]`), endpoints("shop", unready), endpoints("shop-canary", ready)},
			rollback.Routing{Weights: route("20"), Load: 1.25, NoStable: "Service shop has no ready endpoint"},
		},
		"nobody is there": {
			[]string{route80(`[{name: shop, weight: 80}, {name: shop-canary, weight: 20}]`)},
			rollback.Routing{Weights: route("20"), Load: 1.25, NoStable: "Service shop has no ready endpoint"},
		},
		"the one that would take it counts, not just anybody": {
			[]string{route80(`[{name: beta, weight: 10}, {name: shop, weight: 70}, {name: shop-canary, weight: 20}]`), endpoints("beta", ready), endpoints("shop", unready)},
			rollback.Routing{Weights: route("20"), Load: 1.25, NoStable: "Service shop has no ready endpoint"},
		},
		"zero needs nobody": {
			[]string{route80(`[{name: shop, weight: 100}, {name: shop-canary, weight: 0}]`)},
			rollback.Routing{Weights: route("0"), Load: 1},
		},
		"the route is gone": {nil, rollback.Routing{Load: 1}},
		"an Ingress for the canary": {
			[]string{ingressWeight("20"), stableIngress, endpoints("shop", ready)},
			rollback.Routing{Weights: ingress("20"), Load: 1.25},
		},
		"a weight of another total": {
			[]string{canaryIngress(`, nginx.ingress.kubernetes.io/canary-weight: "500", nginx.ingress.kubernetes.io/canary-weight-total: "1000"`), stableIngress, endpoints("shop", ready)},
			rollback.Routing{Weights: ingress("500"), Load: 2},
		},
		"an Ingress with everything for the canary": {
			[]string{ingressWeight("100"), stableIngress, endpoints("shop", ready)},
			rollback.Routing{Weights: ingress("100"), Load: 1, NoStable: "all traffic of Ingress shop-canary goes to the canary"},
		},
		"nobody else serves the host": {
			[]string{ingressWeight("20"), strings.ReplaceAll(stableIngress, "shop.example", "other.example")},
			rollback.Routing{Weights: ingress("20"), Load: 1, NoStable: "no other Ingress serves shop.example/"},
		},
		"who else serves the host is not ready": {
			[]string{ingressWeight("20"), stableIngress, endpoints("shop", unready)},
			rollback.Routing{Weights: ingress("20"), Load: 1.25, NoStable: "Service shop has no ready endpoint"},
		},
		"a header leads to the canary, whatever the weight": {
			[]string{canaryIngress(`, nginx.ingress.kubernetes.io/canary-weight: "0", nginx.ingress.kubernetes.io/canary-by-header: x-canary`), stableIngress, endpoints("shop", ready)},
			rollback.Routing{Weights: ingress("0 and header x-canary"), Load: 1},
		},
		"a header leads to the canary, and nobody else is ready": {
			[]string{canaryIngress(`, nginx.ingress.kubernetes.io/canary-by-header: x-canary`), stableIngress, endpoints("shop", unready)},
			rollback.Routing{Weights: ingress("0 and header x-canary"), Load: 1, NoStable: "Service shop has no ready endpoint"},
		},
		"an Ingress of another class serves nobody here": {
			[]string{ingressWeight("20"), strings.Replace(stableIngress, "spec: {", "spec: {ingressClassName: internal, ", 1), endpoints("shop", ready)},
			rollback.Routing{Weights: ingress("20"), Load: 1, NoStable: "no other Ingress serves shop.example/"},
		},
		"a class is the same in both spellings": {
			[]string{
				strings.Replace(ingressWeight("20"), "spec: {", "spec: {ingressClassName: nginx, ", 1),
				strings.Replace(stableIngress, "name: shop}", "name: shop, annotations: {kubernetes.io/ingress.class: nginx}}", 1), endpoints("shop", ready),
			},
			rollback.Routing{Weights: ingress("20"), Load: 1.25},
		},
		"another class is another one in both spellings": {
			[]string{
				strings.Replace(ingressWeight("20"), "spec: {", "spec: {ingressClassName: nginx, ", 1),
				strings.Replace(stableIngress, "name: shop}", "name: shop, annotations: {kubernetes.io/ingress.class: internal}}", 1), endpoints("shop", ready),
			},
			rollback.Routing{Weights: ingress("20"), Load: 1, NoStable: "no other Ingress serves shop.example/"},
		},
		"a hold is told as the zero it is": {
			[]string{canaryIngress(`, nginx.ingress.kubernetes.io/canary-weight: "0", backout.dev/held-weight: "20"`), stableIngress},
			rollback.Routing{Weights: ingress("0"), Load: 1},
		},
		"a held weight that a person raised is told as it is": {
			[]string{canaryIngress(`, nginx.ingress.kubernetes.io/canary-weight: "5", backout.dev/held-weight: "20"`), stableIngress, endpoints("shop", ready)},
			rollback.Routing{Weights: ingress("5"), Load: 100.0 / 95},
		},
		"no canary any more": {
			[]string{strings.ReplaceAll(ingressWeight("20"), `"true"`, `"false"`), stableIngress},
			rollback.Routing{Load: 1},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := &Router{objects: cluster(t, c.live...)}
			m := rollback.Manifest{object(t, canaryService), object(t, ingressWeight("99")), object(t, route80(`[{name: shop}, {name: shop-canary}]`))}
			before := string(must(yaml.Marshal(m)))
			got, err := r.Look(t.Context(), shop(), m)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got, besideSeen()); diff != "" {
				t.Errorf("the routing (-want +got):\n%s", diff)
			}
			if after := string(must(yaml.Marshal(m))); after != before {
				t.Errorf("a manifest is shared and never changed; it became:\n%s", after)
			}
		})
	}
}

func TestLookTakesTheWorstOfSeveralRoutes(t *testing.T) {
	routes := []string{
		`{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: shop}, spec: {rules: [{backendRefs: [{name: shop, weight: 90}, {name: shop-canary, weight: 10}]}, {backendRefs: [{name: shop, weight: 1}, {name: shop-canary, weight: 3}]}]}}`,
		`{apiVersion: gateway.networking.k8s.io/v1, kind: GRPCRoute, metadata: {name: rpc}, spec: {rules: [{backendRefs: [{name: shop-rpc, weight: 1}, {name: shop-canary, weight: 1}]}]}}`,
	}
	m := rollback.Manifest{object(t, canaryService), object(t, routes[0]), object(t, routes[1])}
	r := &Router{objects: cluster(t, append(routes, endpoints("shop", ready), endpoints("shop-rpc", unready))...)}
	got, err := r.Look(t.Context(), shop(), m)
	if err != nil {
		t.Fatal(err)
	}
	if got.Load != 4 || got.NoStable != "Service shop-rpc has no ready endpoint" || len(got.Weights) != 3 {
		t.Errorf("got %+v; want the highest load, 4, the reason of the route that nobody could take over, and the weight of every rule", got)
	}
}

// The cluster answers what it is allowed to: what was seen comes with the error.
func TestLookWithoutLeave(t *testing.T) {
	for resource, hint := range map[string]string{
		"endpointslices": "allow backout to list endpointslices.discovery.k8s.io in namespace shop",
		"httproutes":     "allow backout to get and list httproutes",
	} {
		client := cluster(t, route80(`[{name: shop, weight: 80}, {name: shop-canary, weight: 20}]`), ingressWeight("20"), stableIngress)
		client.PrependReactor("*", resource, func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: resource}, "", errors.New("no"))
		})
		m := rollback.Manifest{object(t, canaryService), object(t, ingressWeight("99")), object(t, route80(`[{name: shop}, {name: shop-canary}]`))}
		got, err := (&Router{objects: client}).Look(t.Context(), shop(), m)
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), hint) {
			t.Errorf("%s forbidden: got error %v, want the hint %q", resource, err, hint)
		}
		if !got.Open() || got.Load != 1.25 {
			t.Errorf("%s forbidden: what could be read is told all the same: got %+v", resource, got)
		}
	}
}

// Of what could be read, the look says whether anybody could take over.
func TestLookJudgesWhatItCouldRead(t *testing.T) {
	istio := virtualService + `http: [{route: [{destination: {host: shop, subset: v1}, weight: 70}, {destination: {host: shop, subset: v2}, weight: 30}]}]}}`
	m := rollback.Manifest{object(t, canaryService), object(t, subsets), object(t, istio), object(t, route80(`[{name: shop}, {name: shop-canary}]`))}
	for _, c := range []struct{ forbidden, shop, want string }{
		{"virtualservices", unready, "Service shop has no ready endpoint"},
		{"virtualservices", ready, ""},
		{"pods", unready, "Service shop has no ready endpoint"},
		{"pods", ready, ""},
		{"endpointslices", ready, ""},
	} {
		client := cluster(t, istio, route80(`[{name: shop, weight: 80}, {name: shop-canary, weight: 20}]`), endpoints("shop", c.shop))
		client.PrependReactor("*", c.forbidden, func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: c.forbidden}, "", errors.New("no"))
		})
		got, err := (&Router{objects: client}).Look(t.Context(), shop(), m)
		if !apierrors.IsForbidden(err) || got.NoStable != c.want || !got.Open() || got.Load < 1.25 {
			t.Errorf("%s forbidden, Service shop %s: got %+v, %v; want %q and what could be read", c.forbidden, c.shop, got, err, c.want)
		}
	}
}

func TestLookCostsTwoRounds(t *testing.T) {
	client := cluster(t, route80(`[{name: shop, weight: 80}, {name: shop-canary, weight: 20}]`), ingressWeight("20"), stableIngress, endpoints("shop", ready))
	m := rollback.Manifest{object(t, canaryService), object(t, ingressWeight("99")), object(t, route80(`[{name: shop}, {name: shop-canary}]`))}
	if _, err := (&Router{objects: client}).Look(t.Context(), shop(), m); err != nil {
		t.Fatal(err)
	}
	if n := len(client.Actions()); n != 4 {
		t.Errorf("two routes, the other Ingresses and the endpoints of all Services are one request each: got %d", n)
	}
	for _, a := range client.Actions() {
		if a.GetVerb() != "get" && a.GetVerb() != "list" {
			t.Errorf("to look changes nothing: got a %s", a.GetVerb())
		}
	}
}

func TestOwner(t *testing.T) {
	const (
		flagger  = `ownerReferences: [{apiVersion: flagger.app/v1beta1, kind: Canary, name: web, uid: u}]`
		rollouts = `ownerReferences: [{apiVersion: argoproj.io/v1alpha1, kind: Rollout, name: web, uid: u}]`
		argoCD   = `annotations: {argocd.argoproj.io/tracking-id: "shop-prod:gateway.networking.k8s.io/HTTPRoute:shop/shop"}`
		fluxHR   = `labels: {helm.toolkit.fluxcd.io/name: web, helm.toolkit.fluxcd.io/namespace: apps}`
		fluxKS   = `labels: {kustomize.toolkit.fluxcd.io/name: apps, kustomize.toolkit.fluxcd.io/namespace: flux-system}`
	)
	for _, c := range []struct {
		rule, metadata, declared string
		tool, object, do         string
		weights                  bool
	}{
		{"nobody", `labels: {app.kubernetes.io/managed-by: Helm}`, "", "", "", "", false},
		{"an owner reference to Flagger's Canary", flagger, "", "Flagger", "Canary shop/web", "kubectl -n shop get canary web", true},
		{"an owner reference to a Rollout", rollouts, "", "Argo Rollouts", "Rollout shop/web", "kubectl argo rollouts abort web -n shop", true},
		{"the annotation of Argo Rollouts", `annotations: {argo-rollouts.argoproj.io/managed-by-rollouts: web}`, "", "Argo Rollouts", "Rollout shop/web", "kubectl argo rollouts abort web -n shop", true},
		{"Argo CD's tracking", argoCD, "", "Argo CD", "Application shop-prod", "argocd app rollback shop-prod", false},
		{"Argo CD's tracking of another object", strings.ReplaceAll(argoCD, "shop/shop", "shop/parent"), "", "", "", "", false},
		{"Flux, by a HelmRelease", fluxHR, "", "Flux", "HelmRelease apps/web", "flux suspend helmrelease web -n apps", false},
		{"Flux, by a Kustomization", fluxKS, "", "Flux", "Kustomization flux-system/apps", "flux suspend kustomization apps -n flux-system", false},
		{"who sets weights comes before who applies", flagger + ", " + argoCD, "", "Flagger", "Canary shop/web", "kubectl -n shop", true},
		{"a Rollout in the release", argoCD, `{apiVersion: argoproj.io/v1alpha1, kind: Rollout, metadata: {name: web}}`, "Argo Rollouts", "Rollout shop/web", "kubectl argo rollouts abort", true},
		{"a Canary in the release", "labels: {}", `{apiVersion: flagger.app/v1beta1, kind: Canary, metadata: {name: web}}`, "Flagger", "Canary shop/web", "kubectl -n shop", true},
	} {
		text := strings.Replace(route80(`[{name: shop}, {name: shop-canary}]`), "name: shop}", "name: shop, "+c.metadata+"}", 1)
		m := rollback.Manifest{object(t, canaryService), object(t, route80(`[{name: shop}, {name: shop-canary}]`))}
		if c.declared != "" {
			m = append(m, object(t, c.declared))
		}
		got, err := (&Router{objects: cluster(t, text, endpoints("shop", ready))}).Look(t.Context(), shop(), m)
		if err != nil {
			t.Fatalf("%s: %v", c.rule, err)
		}
		o := got.Owner
		if o.Tool != c.tool || o.Object != c.object || !strings.HasPrefix(o.Do, c.do) || o.Weights != c.weights {
			t.Errorf("%s: got %+v, want %s, %s, %s..., weights %v", c.rule, o, c.tool, c.object, c.do, c.weights)
		}
	}
}

func TestWhoSetsWeightsOwnsTheRelease(t *testing.T) {
	const (
		flux    = `{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: shop, labels: {helm.toolkit.fluxcd.io/name: web, helm.toolkit.fluxcd.io/namespace: apps}}, spec: {rules: [{backendRefs: [{name: shop}, {name: shop-canary}]}]}}`
		flagger = `{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: web, ownerReferences: [{apiVersion: flagger.app/v1beta1, kind: Canary, name: web, uid: u}]}, spec: {rules: [{backendRefs: [{name: shop}, {name: shop-canary}]}]}}`
	)
	for _, live := range [][]string{{flux, flagger}, {flagger, flux}} {
		m := rollback.Manifest{object(t, canaryService), object(t, live[0]), object(t, live[1])}
		got, err := (&Router{objects: cluster(t, append(live, endpoints("shop", ready))...)}).Look(t.Context(), shop(), m)
		if err != nil || got.Owner.Tool != "Flagger" {
			t.Errorf("who sets the weight of one route is named before who applies another: got %+v, %v", got.Owner, err)
		}
	}
}

// A replica that has lost the lease takes traffic from a canary, and gives it none.
func TestFence(t *testing.T) {
	lost := errors.New("the lease is lost")
	live := route80(`[{name: shop, weight: 80}, {name: shop-canary, weight: 20}]`)
	client := cluster(t, live)
	m := rollback.Manifest{object(t, canaryService), object(t, live)}
	r := &Router{objects: client, fence: func() error { return lost }}
	if _, err := r.Shed(t.Context(), shop(), m, nil); err != nil {
		t.Fatalf("any replica may shed: got %v", err)
	}
	if _, err := r.Raise(t.Context(), shop(), m, nil); !errors.Is(err, lost) {
		t.Errorf("the fence's word is the error: got %v", err)
	}
	o, err := client.Resource(httpRoutes()).Namespace("shop").Get(t.Context(), "shop", metav1.GetOptions{})
	if err != nil || weights(o.Object) != "100 0" {
		t.Errorf("nothing is raised behind the fence: got %q, %v", weights(o.Object), err)
	}
	r.fence = func() error { return nil }
	if _, err := r.Raise(t.Context(), shop(), m, nil); err != nil {
		t.Error(err)
	}
	if o, _ := client.Resource(httpRoutes()).Namespace("shop").Get(t.Context(), "shop", metav1.GetOptions{}); weights(o.Object) != "80 20" {
		t.Errorf("the leader raises: got %q", weights(o.Object))
	}
}

// An admission webhook may put a weight back in the very request that took it.
func TestShedReadsBack(t *testing.T) {
	live := route80(`[{name: shop, weight: 80}, {name: shop-canary, weight: 20}]`)
	client := cluster(t, live)
	client.PrependReactor("patch", "httproutes", func(clienttesting.Action) (bool, runtime.Object, error) {
		u := &unstructured.Unstructured{Object: object(t, live)}
		return true, u, nil
	})
	_, err := (&Router{objects: client}).Shed(t.Context(), shop(), rollback.Manifest{object(t, canaryService), object(t, live)}, nil)
	if !errors.Is(err, errPutBack) {
		t.Errorf("a weight that is not stored as written is no success: got %v", err)
	}
}

// besideSeen leaves out what Look hands to ShedSeen.
func besideSeen() cmp.Option { return cmpopts.IgnoreFields(rollback.Routing{}, "Seen") }
