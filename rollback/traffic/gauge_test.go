package traffic

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"
	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/rollback"
)

// of returns the objects as those of a Helm release in namespace shop.
func of(t *testing.T, release string, objects ...string) []string {
	t.Helper()
	var all []string
	for _, text := range objects {
		o := &unstructured.Unstructured{Object: object(t, text)}
		annotations := o.GetAnnotations()
		if annotations == nil {
			annotations = make(map[string]string)
		}
		annotations[releaseAnnotation], annotations[releaseNamespaceAnnotation] = release, "shop"
		o.SetAnnotations(annotations)
		all = append(all, string(must(yaml.Marshal(o.Object))))
	}
	return all
}

// gauge is a Gauge with its registry and its log.
type gauge struct {
	*Gauge
	registry *prometheus.Registry
	log      bytes.Buffer
	// guarded is what Show received last.
	guarded []rollback.GuardedRelease
}

func gaugeOf(t *testing.T, client *fake.FakeDynamicClient, allows func(rollback.Key) bool) *gauge {
	t.Helper()
	g := &gauge{registry: prometheus.NewPedanticRegistry()}
	var err error
	g.Gauge, err = NewGauge(GaugeOptions{
		Config:     &rest.Config{Host: "http://cluster.example", QPS: -1, Transport: transport{client}},
		Namespaces: []string{"shop"}, Allows: allows, Registerer: g.registry, Log: slog.New(slog.NewTextHandler(&g.log, nil)),
		Show: func(_ string, releases []rollback.GuardedRelease) { g.guarded = releases },
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// transport answers lists as the API server of a fake cluster, without a network, so that
// synctest sees when the gauge waits.
type transport struct{ client *fake.FakeDynamicClient }

func (r transport) RoundTrip(request *http.Request) (*http.Response, error) {
	parts := strings.Split(strings.TrimPrefix(request.URL.Path, "/"), "/")
	if parts[0] == "api" {
		parts = append([]string{"apis", ""}, parts[1:]...)
	}
	resource := schema.GroupVersionResource{Group: parts[1], Version: parts[2], Resource: parts[5]}
	list, err := r.client.Resource(resource).Namespace(parts[4]).List(request.Context(), metav1.ListOptions{ResourceVersion: request.URL.Query().Get("resourceVersion")})
	code, body := http.StatusOK, []byte(nil)
	var refused apierrors.APIStatus
	if errors.As(err, &refused) {
		s := refused.Status()
		code, body = int(s.Code), must(json.Marshal(&s))
	} else if err != nil {
		return nil, err
	} else {
		for i := range list.Items {
			// The API server leaves them out of the objects of a list.
			unstructured.RemoveNestedField(list.Items[i].Object, "apiVersion")
			unstructured.RemoveNestedField(list.Items[i].Object, "kind")
		}
		body = must(json.Marshal(map[string]any{"kind": list.GetKind(), "apiVersion": list.GetAPIVersion(), "metadata": map[string]any{"resourceVersion": "9"}, "items": contents(list)}))
	}
	return &http.Response{
		StatusCode: code, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body)), Request: request,
	}, nil
}

// contents returns the objects of a list; nil if it is empty.
func contents(list *unstructured.UnstructuredList) []any {
	var all []any
	for _, o := range list.Items {
		all = append(all, o.Object)
	}
	return all
}

// scrape returns the values of the series by "release Kind/name".
func (g *gauge) scrape(t *testing.T) map[string]float64 {
	t.Helper()
	families, err := g.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]float64)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			l := make(map[string]string)
			for _, pair := range m.GetLabel() {
				l[pair.GetName()] = pair.GetValue()
			}
			if f.GetName() != "backout_canary_weight" || l["namespace"] != "shop" {
				t.Errorf("%s%v: want backout_canary_weight in namespace shop", f.GetName(), l)
			}
			found[l["release"]+" "+l["route"]] = m.GetGauge().GetValue()
		}
	}
	return found
}

// received returns what Show received last, in the form of scrape.
func (g *gauge) received(t *testing.T) map[string]float64 {
	t.Helper()
	found := make(map[string]float64)
	for _, r := range g.guarded {
		if !web(r.Key) || r.ReadAt.IsZero() {
			t.Errorf("Show receives only opted-in releases, with the time of the read: got %+v", r)
		}
		for _, share := range r.Routes {
			found[r.Release+" "+share.Route] = share.Percent
		}
	}
	return found
}

func web(k rollback.Key) bool { return k == rollback.Key{Namespace: "shop", Release: "web"} }

// The gauge shows the live weights of opted-in releases, on the same routes as Observe.
func TestGauge(t *testing.T) {
	const (
		split     = `[{name: shop, weight: 60}, {name: shop-canary, weight: 20}]`
		header    = `, nginx.ingress.kubernetes.io/canary-by-header: x-canary`
		untracked = `{apiVersion: v1, kind: Service, metadata: {name: shop-next}, spec: {selector: {deployment: shop-canary}}}`
		naming    = `{apiVersion: v1, kind: Service, metadata: {name: shop-canary, annotations: {backout.dev/route: HTTPRoute/shop}}, spec: {selector: {track: canary}}}`
		chosen    = `{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: shop, annotations: {backout.dev/canary: b}}, spec: {rules: [{backendRefs: [{name: a, weight: 3}, {name: b, weight: 1}]}]}}`
		guessed   = `{apiVersion: v1, kind: Service, metadata: {name: beta-canary}}`
		stateful  = `{apiVersion: apps/v1, kind: StatefulSet, metadata: {name: shop}, spec: {template: {metadata: {labels: {app: shop}}, spec: {containers: []}}}}`
	)
	canaryPods, stablePods := deployment("shop-canary", "canary", "1", 1), deployment("shop", "stable", "4", 4)
	idle := deployment("shop-canary", "canary", "0", 1)
	istio := strings.ReplaceAll(virtualService+`http: [{route: [{destination: {host: shop, subset: v1}, weight: 70}, {destination: {host: shop, subset: v2}, weight: 30}]}]}}`, "/v1,", "/v1beta1,")
	elsewhere := of(t, "web", canaryService, backendRefs(split))
	for i := range elsewhere {
		elsewhere[i] = strings.ReplaceAll(elsewhere[i], "release-namespace: shop", "release-namespace: other")
	}
	long := strings.ReplaceAll(virtualService+`http: [{route: [{destination: {host: shop}, weight: 3}, {destination: {host: shop-canary.shop.svc.cluster.local}, weight: 1}]}]}}`, "/v1,", "/v1beta1,")
	rules := strings.ReplaceAll(subsets, "/v1,", "/v1beta1,")
	for name, c := range map[string]struct {
		live   []string // objects of release web
		others []string
		want   map[string]float64
	}{
		"a weight is a share of the sum": {[]string{canaryService, backendRefs(split)}, nil, map[string]float64{"web HTTPRoute/shop": 25}},
		"no weight is one":               {[]string{canaryService, backendRefs(`[{name: a}, {name: b}, {name: c}, {name: shop-canary}]`)}, nil, map[string]float64{"web HTTPRoute/shop": 25}},
		"zero is shown":                  {[]string{canaryService, backendRefs(`[{name: shop, weight: 1}, {name: shop-canary, weight: 0}]`)}, nil, map[string]float64{"web HTTPRoute/shop": 0}},
		"all weights at zero is zero":    {[]string{canaryService, backendRefs(`[{name: shop, weight: 0}, {name: shop-canary, weight: 0}]`)}, nil, map[string]float64{"web HTTPRoute/shop": 0}},
		"everything":                     {[]string{canaryService, backendRefs(`[{name: shop, weight: 0}, {name: shop-canary, weight: 7}]`)}, nil, map[string]float64{"web HTTPRoute/shop": 100}},
		"each rule has its own":          {[]string{canaryService, backendRefs(split + `}, {backendRefs: [{name: shop}, {name: shop-canary}]`)}, nil, map[string]float64{"web HTTPRoute/shop rule 1": 25, "web HTTPRoute/shop rule 2": 50}},
		"Ingress":                        {[]string{ingressWeight("20"), stableIngress}, nil, map[string]float64{"web Ingress/shop-canary": 20}},
		"Ingress without a stable one":   {[]string{ingressWeight("20")}, nil, map[string]float64{"web Ingress/shop-canary": 20}},
		"Ingress of another total":       {[]string{canaryIngress(`, ` + weightAnnotation + `: "20", ` + totalAnnotation + `: "1000"`), stableIngress}, nil, map[string]float64{"web Ingress/shop-canary": 2}},
		"Ingress with a weight above its total": {
			[]string{ingressWeight("200"), stableIngress}, nil, map[string]float64{"web Ingress/shop-canary": 100},
		},
		"Ingress with rules: the weight alone":           {[]string{canaryIngress(header)}, nil, map[string]float64{"web Ingress/shop-canary": 0}},
		"Istio by subsets":                               {[]string{sharedService, canaryPods, stablePods, rules, istio}, nil, map[string]float64{"web VirtualService/shop": 30}},
		"Traefik":                                        {[]string{canaryService, traefikService + `[{name: shop, weight: 9}, {name: shop-canary, weight: 1}]}}}`}, nil, map[string]float64{"web TraefikService/shop": 10}},
		"Contour: no weight at all is the same":          {[]string{canaryService, httpProxy + `{routes: [{services: [{name: shop}, {name: shop-canary}]}]}}`}, nil, map[string]float64{"web HTTPProxy/shop": 50}},
		"AWS: the action of another release":             {[]string{canaryService}, of(t, "stable", awsIngress(targetGroup("shop", "80")+","+targetGroup("shop-canary", "20"), "")), map[string]float64{"web Ingress/shop": 20}},
		"Skipper":                                        {[]string{canaryService, skipperIngress(`{"shop": 80, "shop-canary": 20}`)}, nil, map[string]float64{"web Ingress/shop": 20}},
		"NGINX":                                          {[]string{canaryService, virtualServer + `[{path: /, splits: [{weight: 80, action: {pass: old}}, {weight: 20, action: {pass: new}}]}]}}`}, nil, map[string]float64{"web VirtualServer/shop": 20}},
		"OpenShift":                                      {[]string{canaryService, openshiftRoute + `to: {name: shop, weight: 3}, alternateBackends: [{name: shop-canary, weight: 1}]}}`}, nil, map[string]float64{"web Route/shop": 25}},
		"plain Service: ready pods":                      {[]string{sharedService, canaryPods, stablePods}, nil, map[string]float64{"web Deployment/shop-canary": 20}},
		"plain Service: no pod wanted":                   {[]string{sharedService, idle, stablePods}, nil, map[string]float64{"web Deployment/shop-canary": 0}},
		"plain Service: two canaries":                    {[]string{sharedService, canaryPods, deployment("shop-canary-b", "canary", "3", 3), stablePods}, nil, map[string]float64{"web Deployment/shop-canary": 12.5, "web Deployment/shop-canary-b": 37.5}},
		"plain Service of another release":               {[]string{canaryPods}, of(t, "stable", sharedService, stablePods), map[string]float64{"web Deployment/shop-canary": 20}},
		"the route of another release":                   {[]string{canaryService}, of(t, "stable", backendRefs(split)), map[string]float64{"web HTTPRoute/shop": 25}},
		"a route of no release":                          {[]string{canaryService}, []string{backendRefs(split)}, map[string]float64{"web HTTPRoute/shop": 25}},
		"a route that a Service names":                   {[]string{naming}, []string{backendRefs(split)}, map[string]float64{"web HTTPRoute/shop": 25}},
		"an annotation":                                  {[]string{chosen}, nil, map[string]float64{"web HTTPRoute/shop": 25}},
		"the canary's Service by its pods":               {[]string{untracked, canaryPods, stablePods, backendRefs(`[{name: shop, weight: 3}, {name: shop-next, weight: 1}]`)}, nil, map[string]float64{"web HTTPRoute/shop": 25}},
		"the canary's Service by a StatefulSet's pods":   {[]string{untracked, canaryPods, stateful, backendRefs(`[{name: shop, weight: 3}, {name: shop-next, weight: 1}]`)}, nil, map[string]float64{"web HTTPRoute/shop": 25}},
		"one kind and name of two groups":                {[]string{canaryService, traefikService + `[{name: shop, weight: 9}, {name: shop-canary, weight: 1}]}}}`, strings.ReplaceAll(traefikService, "traefik.io", "traefik.containo.us") + `[{name: shop}, {name: shop-canary}]}}}`}, nil, map[string]float64{"web TraefikService/shop": 50}},
		"subsets of another release's route":             {[]string{strings.ReplaceAll(rules, "metadata: {name: shop}", "metadata: {name: subsets}"), canaryPods, deployment("stable", "stable", "1", 1)}, of(t, "stable", istio), map[string]float64{"web VirtualService/shop": 30}},
		"a host of another release's route":              {[]string{canaryService}, of(t, "stable", long), map[string]float64{"web VirtualService/shop": 25}},
		"one kind and name of two groups, the other way": {[]string{canaryService, traefikService + `[{name: shop}, {name: shop-canary}]}}}`, strings.ReplaceAll(traefikService, "traefik.io", "traefik.containo.us") + `[{name: shop, weight: 9}, {name: shop-canary, weight: 1}]}}}`}, nil, map[string]float64{"web TraefikService/shop": 50}},
		"two could be the canary":                        {[]string{guessed, `{apiVersion: v1, kind: Service, metadata: {name: shop-canary}}`, backendRefs(`[{name: shop}, {name: beta-canary}, {name: shop-canary}]`)}, nil, nil},
		"no canary":                                      {[]string{sharedService, stablePods, backendRefs(`[{name: shop}]`)}, nil, nil},
		"a release that is not opted in":                 {nil, of(t, "blog", canaryService, backendRefs(split)), nil},
		"no release at all":                              {nil, []string{canaryService, backendRefs(split)}, nil},
		"a release of that name elsewhere":               {nil, elsewhere, nil},
		"a subset without a description":                 {[]string{canaryService}, of(t, "stable", strings.ReplaceAll(istio, "v2", "canary")), map[string]float64{"web VirtualService/shop": 30}},
		"a Service names another release's route":        {[]string{strings.ReplaceAll(naming, "HTTPRoute/shop", "HTTPRoute/blog")}, []string{backendRefs(split), strings.ReplaceAll(backendRefs(`[{name: a}, {name: b}]`), "name: shop}", "name: blog}")}, map[string]float64{"web HTTPRoute/shop": 25}},
		"the stable side's release has no canary":        {[]string{backendRefs(split)}, of(t, "web-canary", canaryService), nil},
	} {
		t.Run(name, func(t *testing.T) {
			client := cluster(t, append(of(t, "web", c.live...), c.others...)...)
			g := gaugeOf(t, client, web)
			g.poll(t.Context(), "shop")
			if diff := cmp.Diff(c.want, g.scrape(t), equateEmpty()); diff != "" {
				t.Errorf("the series (-want +got):\n%s\n%s", diff, g.log.String())
			}
			if diff := cmp.Diff(c.want, g.received(t), equateEmpty()); diff != "" {
				t.Errorf("Show receives what the metric shows (-want +got):\n%s", diff)
			}
			routing, _ := routerOn(client).Observe(t.Context(), shop(), manifest(t, c.live...), rollback.Stored)
			observed := sets.New[string]()
			for _, w := range routing.Weights {
				observed.Insert("web " + w.Kind + "/" + w.Name)
			}
			if diff := cmp.Diff(sets.List(observed), sets.List(sets.KeySet(g.scrape(t)))); diff != "" {
				t.Errorf("Observe returns the same routes (-Observe +gauge):\n%s", diff)
			}
		})
	}
}

// equateEmpty compares a nil map as an empty one.
func equateEmpty() cmp.Option {
	return cmp.Transformer("", func(m map[string]float64) map[string]float64 {
		if m == nil {
			return map[string]float64{}
		}
		return maps.Clone(m)
	})
}

// A series follows the live weight, and goes with its route, its release or the opt-in.
func TestGaugeFollows(t *testing.T) {
	routes := schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"}
	services := schema.GroupVersionResource{Version: "v1", Resource: "services"}
	const split = `[{name: shop, weight: %d}, {name: shop-canary, weight: %d}]`
	for name, c := range map[string]struct {
		change func(t *testing.T, client *fake.FakeDynamicClient, opted map[string]bool)
		want   map[string]float64
	}{
		"another weight": {
			func(t *testing.T, client *fake.FakeDynamicClient, _ map[string]bool) {
				o := &unstructured.Unstructured{Object: object(t, of(t, "web", backendRefs(fmt.Sprintf(split, 100, 0)))[0])}
				o.SetNamespace("shop")
				if _, err := client.Resource(routes).Namespace("shop").Update(t.Context(), o, metav1.UpdateOptions{}); err != nil {
					t.Error(err)
				}
			},
			map[string]float64{"web HTTPRoute/shop": 0, "blog Ingress/blog-canary": 10},
		},
		"no route": {
			func(t *testing.T, client *fake.FakeDynamicClient, _ map[string]bool) {
				if err := client.Resource(routes).Namespace("shop").Delete(t.Context(), "shop", metav1.DeleteOptions{}); err != nil {
					t.Error(err)
				}
			},
			map[string]float64{"blog Ingress/blog-canary": 10},
		},
		"no release": {
			func(t *testing.T, client *fake.FakeDynamicClient, _ map[string]bool) {
				err := errors.Join(
					client.Resource(routes).Namespace("shop").Delete(t.Context(), "shop", metav1.DeleteOptions{}),
					client.Resource(services).Namespace("shop").Delete(t.Context(), "shop-canary", metav1.DeleteOptions{}),
				)
				if err != nil {
					t.Error(err)
				}
			},
			map[string]float64{"blog Ingress/blog-canary": 10},
		},
		"no opt-in": {
			func(_ *testing.T, _ *fake.FakeDynamicClient, opted map[string]bool) { delete(opted, "web") },
			map[string]float64{"blog Ingress/blog-canary": 10},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				client := cluster(t, append(of(t, "web", canaryService, backendRefs(fmt.Sprintf(split, 80, 20))), of(t, "blog", strings.ReplaceAll(ingressWeight("10"), "shop-canary", "blog-canary"))...)...)
				opted := map[string]bool{"web": true, "blog": true}
				var mu sync.Mutex
				g := gaugeOf(t, client, func(k rollback.Key) bool {
					mu.Lock()
					defer mu.Unlock()
					return opted[k.Release]
				})
				stop := g.run(t)
				before := map[string]float64{"web HTTPRoute/shop": 20, "blog Ingress/blog-canary": 10}
				if diff := cmp.Diff(before, g.scrape(t)); diff != "" {
					t.Errorf("after the first read (-want +got):\n%s", diff)
				}
				mu.Lock()
				c.change(t, client, opted)
				mu.Unlock()
				time.Sleep(gaugeInterval)
				synctest.Wait()
				if diff := cmp.Diff(c.want, g.scrape(t)); diff != "" {
					t.Errorf("half a minute after the change (-want +got):\n%s", diff)
				}
				stop()
			})
		})
	}
}

// run runs the gauge until stop, which checks that it ends without an error. It returns
// after the first read, and only in a synctest bubble.
func (g *gauge) run(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	synctest.Wait()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run returns nil at the end of its context: got %v", err)
		}
	}
}

// lists counts the lists that the cluster received by resource.
func lists(t *testing.T, client *fake.FakeDynamicClient) map[string]int {
	t.Helper()
	found := make(map[string]int)
	for _, a := range client.Actions() {
		list, ok := a.(clienttesting.ListActionImpl)
		if !ok {
			t.Errorf("a gauge only lists: got %v", a)
			continue
		}
		if list.ListOptions.ResourceVersion != "0" {
			t.Errorf("a list of %s is answered from the API server's cache, with version 0: got version %q", a.GetResource().Resource, list.ListOptions.ResourceVersion)
		}
		found[a.GetResource().GroupResource().String()]++
	}
	client.ClearActions()
	return found
}

// The gauge lists each kind once in a namespace, whatever the number of releases.
func TestGaugeListsEachKindOnce(t *testing.T) {
	var objects []string
	for i := range 30 {
		name := fmt.Sprintf("shop-%d", i)
		for _, text := range []string{canaryService, backendRefs(`[{name: shop, weight: 80}, {name: shop-canary, weight: 20}]`), deployment("shop-canary", "canary", "1", 1)} {
			objects = append(objects, of(t, name, strings.ReplaceAll(strings.ReplaceAll(text, "name: shop-canary", "name: "+name+"-canary"), "name: shop}", "name: "+name+"}"))...)
		}
	}
	client := cluster(t, objects...)
	g := gaugeOf(t, client, func(rollback.Key) bool { return true })
	g.namespaces = []string{"shop", "empty"}
	for _, namespace := range g.namespaces {
		g.poll(t.Context(), namespace)
	}
	if got := g.scrape(t); len(got) != 30 || got["shop-7 HTTPRoute/shop-7"] != 20 {
		t.Errorf("every release is shown: got %v", got)
	}
	for resource, n := range lists(t, client) {
		if n != len(g.namespaces) {
			t.Errorf("%s: %d lists in %d namespaces, want one each", resource, n, len(g.namespaces))
		}
	}
}

// The gauge leaves out kinds that the cluster does not serve or that backout may not list,
// and tries them again after ten minutes.
func TestGaugeLeavesOutKindsThatItCannotList(t *testing.T) {
	for name, c := range map[string]struct {
		refusal error
		lists   int // in two namespaces
	}{
		"the cluster does not serve the kind": {apierrors.NewNotFound(schema.GroupResource{Resource: "virtualservices"}, ""), 1},
		"it is forbidden in a namespace":      {apierrors.NewForbidden(schema.GroupResource{Resource: "virtualservices"}, "", errors.New("no")), 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				istio := strings.ReplaceAll(virtualService+`http: [{route: [{destination: {host: shop}, weight: 3}, {destination: {host: shop-canary}, weight: 1}]}]}}`, "/v1,", "/v1beta1,")
				client := cluster(t, of(t, "web", canaryService, ingressWeight("20"), istio)...)
				var refusal answer
				refusal.set(c.refusal)
				client.PrependReactor("list", "virtualservices", refusal.react)
				g := gaugeOf(t, client, web)
				g.namespaces = []string{"shop", "empty"}
				defer g.run(t)()
				time.Sleep(refusedInterval - time.Second)
				synctest.Wait()
				if got := lists(t, client)["virtualservices.networking.istio.io"]; got != c.lists {
					t.Errorf("listed %d times within ten minutes, want %d", got, c.lists)
				}
				if diff := cmp.Diff(map[string]float64{"web Ingress/shop-canary": 20}, g.scrape(t)); diff != "" {
					t.Errorf("the other kinds are shown (-want +got):\n%s", diff)
				}
				if g.log.Len() > 0 {
					t.Errorf("a kind that is most likely not in use is not logged: got %s", g.log.String())
				}
				refusal.set(nil)
				time.Sleep(gaugeInterval)
				synctest.Wait()
				if diff := cmp.Diff(map[string]float64{"web Ingress/shop-canary": 20, "web VirtualService/shop": 25}, g.scrape(t)); diff != "" {
					t.Errorf("it is shown once it can be listed (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// Without the Services, the canary's side is unknown: backout needs the right to list them.
func TestGaugeWithoutServices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := cluster(t)
		client.PrependReactor("list", "services", func(clienttesting.Action) (bool, runtime.Object, error) {
			return true, nil, apierrors.NewForbidden(schema.GroupResource{Resource: "services"}, "", errors.New("no"))
		})
		g := gaugeOf(t, client, web)
		defer g.run(t)()
		time.Sleep(2 * refusedInterval)
		synctest.Wait()
		if got := g.log.String(); strings.Count(got, "allow backout to list services in namespace shop") != 1 {
			t.Errorf("the missing right is logged once: got %q", got)
		}
	})
}

// A namespace that cannot be read keeps its series for some minutes.
func TestGaugeOutage(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := cluster(t, of(t, "web", canaryService, ingressWeight("20"))...)
		var outage answer
		client.PrependReactor("list", "ingresses", outage.react)
		g := gaugeOf(t, client, web)
		defer g.run(t)()
		want := map[string]float64{"web Ingress/shop-canary": 20}
		for _, c := range []struct {
			rule   string
			outage error
			after  time.Duration
			want   map[string]float64
			logged int
		}{
			{"the weight is shown", nil, 0, want, 0},
			{"an outage deletes no series", errors.New("the API server is away"), gaugeInterval, want, 1},
			{"it is logged once", errors.New("the API server is away"), staleLimit - gaugeInterval, want, 1},
			{"old weights are deleted", errors.New("the API server is away"), gaugeInterval, map[string]float64{}, 1},
			{"after the outage the weights are back", nil, gaugeInterval, want, 1},
			{"another outage is logged again", errors.New("the API server is away"), gaugeInterval, want, 2},
		} {
			outage.set(c.outage)
			time.Sleep(c.after)
			synctest.Wait()
			if diff := cmp.Diff(c.want, g.scrape(t)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.rule, diff)
			}
			if got := strings.Count(g.log.String(), "the API server is away"); got != c.logged {
				t.Errorf("%s: logged %d times, want %d", c.rule, got, c.logged)
			}
		}
	})
}

func TestNewGauge(t *testing.T) {
	registry := prometheus.NewRegistry()
	o := GaugeOptions{Config: &rest.Config{Host: "http://127.0.0.1:1"}, Registerer: registry}
	if _, err := NewGauge(o); err != nil {
		t.Errorf("NewGauge sends no request: got %v", err)
	}
	if _, err := NewGauge(o); err == nil || !strings.Contains(err.Error(), "register the gauge of canary weights") {
		t.Errorf("a second Gauge on the same registry is an error: got %v", err)
	}
}

// answer is the error with which the cluster answers lists, if not nil. It may change while
// the gauge runs.
type answer struct {
	mu  sync.Mutex
	err error
}

func (a *answer) set(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.err = err
}

func (a *answer) react(clienttesting.Action) (bool, runtime.Object, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.err != nil, nil, a.err
}
