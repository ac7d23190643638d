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
	"slices"
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
	"k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/rest"
	clienttesting "k8s.io/client-go/testing"
	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/rollback"
)

// of makes the objects those of a Helm release in namespace shop.
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

// gauge is one under test, with what it is registered with and what it logs.
type gauge struct {
	*Gauge
	registry *prometheus.Registry
	log      bytes.Buffer
	// told is what Show was told last.
	told []rollback.Guarded
}

func gaugeOf(t *testing.T, client *fake.FakeDynamicClient, allows func(rollback.Key) bool) *gauge {
	t.Helper()
	g := &gauge{registry: prometheus.NewPedanticRegistry()}
	var err error
	g.Gauge, err = NewGauge(GaugeOptions{
		Config:     &rest.Config{Host: "http://cluster.example", QPS: -1, Transport: transport{client}},
		Namespaces: []string{"shop"}, Allows: allows, Registerer: g.registry, Log: slog.New(slog.NewTextHandler(&g.log, nil)),
		Show: func(_ string, releases []rollback.Guarded) { g.told = releases },
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// transport answers lists as the API server of a fake cluster, without a network: a
// bubble knows when nothing goes on in it.
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
			// As the real one has it.
			unstructured.RemoveNestedField(list.Items[i].Object, "apiVersion")
			unstructured.RemoveNestedField(list.Items[i].Object, "kind")
		}
		body = must(json.Marshal(map[string]any{"kind": list.GetKind(), "apiVersion": list.GetAPIVersion(), "metadata": map[string]any{"resourceVersion": "9"}, "items": contents(list)}))
	}
	return &http.Response{
		StatusCode: code, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body)), Request: request,
	}, nil
}

// contents returns the objects of a list; nil if there are none.
func contents(list *unstructured.UnstructuredList) []any {
	var all []any
	for _, o := range list.Items {
		all = append(all, o.Object)
	}
	return all
}

// shows returns the series as they would be scraped, as "release Kind/name" and their
// value.
func (g *gauge) shows(t *testing.T) map[string]float64 {
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

// shares returns what Show was told last, in the form of shows. Every release of
// which something is live is among it.
func (g *gauge) shares(t *testing.T) map[string]float64 {
	t.Helper()
	found := make(map[string]float64)
	for _, r := range g.told {
		if !web(r.Key) || r.Read.IsZero() {
			t.Errorf("only what is opted in is shown, with its time: got %+v", r)
		}
		for _, share := range r.Routes {
			found[r.Release+" "+share.Route] = share.Percent
		}
	}
	return found
}

func web(k rollback.Key) bool { return k == rollback.Key{Namespace: "shop", Release: "web"} }

// What the gauge says of what is live. All objects are those of release web, unless
// said otherwise.
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
	elsewhere := of(t, "web", canaryService, route80(split))
	for i := range elsewhere {
		elsewhere[i] = strings.ReplaceAll(elsewhere[i], "release-namespace: shop", "release-namespace: other")
	}
	long := strings.ReplaceAll(virtualService+`http: [{route: [{destination: {host: shop}, weight: 3}, {destination: {host: shop-canary.shop.svc.cluster.local}, weight: 1}]}]}}`, "/v1,", "/v1beta1,")
	rules := strings.ReplaceAll(subsets, "/v1,", "/v1beta1,")
	for name, c := range map[string]struct {
		live   []string
		others []string // not of release web
		want   map[string]float64
	}{
		"a weight is of the sum":               {[]string{canaryService, route80(split)}, nil, map[string]float64{"web HTTPRoute/shop": 25}},
		"no weight is one":                     {[]string{canaryService, route80(`[{name: a}, {name: b}, {name: c}, {name: shop-canary}]`)}, nil, map[string]float64{"web HTTPRoute/shop": 25}},
		"zero is shown":                        {[]string{canaryService, route80(`[{name: shop, weight: 1}, {name: shop-canary, weight: 0}]`)}, nil, map[string]float64{"web HTTPRoute/shop": 0}},
		"nothing for anybody is zero":          {[]string{canaryService, route80(`[{name: shop, weight: 0}, {name: shop-canary, weight: 0}]`)}, nil, map[string]float64{"web HTTPRoute/shop": 0}},
		"everything":                           {[]string{canaryService, route80(`[{name: shop, weight: 0}, {name: shop-canary, weight: 7}]`)}, nil, map[string]float64{"web HTTPRoute/shop": 100}},
		"each rule has its own":                {[]string{canaryService, route80(split + `}, {backendRefs: [{name: shop}, {name: shop-canary}]`)}, nil, map[string]float64{"web HTTPRoute/shop rule 1": 25, "web HTTPRoute/shop rule 2": 50}},
		"Ingress":                              {[]string{ingressWeight("20"), stableIngress}, nil, map[string]float64{"web Ingress/shop-canary": 20}},
		"Ingress whose other side is not seen": {[]string{ingressWeight("20")}, nil, map[string]float64{"web Ingress/shop-canary": 20}},
		"Ingress of another total":             {[]string{canaryIngress(`, ` + weightAnnotation + `: "20", ` + totalAnnotation + `: "1000"`), stableIngress}, nil, map[string]float64{"web Ingress/shop-canary": 2}},
		"Ingress with a weight above its total": {
			[]string{ingressWeight("200"), stableIngress}, nil, map[string]float64{"web Ingress/shop-canary": 100},
		},
		"Ingress with rules is shown by weight":          {[]string{canaryIngress(header)}, nil, map[string]float64{"web Ingress/shop-canary": 0}},
		"Istio by subsets":                               {[]string{sharedService, canaryPods, stablePods, rules, istio}, nil, map[string]float64{"web VirtualService/shop": 30}},
		"Traefik":                                        {[]string{canaryService, traefikService + `[{name: shop, weight: 9}, {name: shop-canary, weight: 1}]}}}`}, nil, map[string]float64{"web TraefikService/shop": 10}},
		"Contour: no weight at all is the same":          {[]string{canaryService, httpProxy + `{routes: [{services: [{name: shop}, {name: shop-canary}]}]}}`}, nil, map[string]float64{"web HTTPProxy/shop": 50}},
		"plain Service: ready pods":                      {[]string{sharedService, canaryPods, stablePods}, nil, map[string]float64{"web Deployment/shop-canary": 20}},
		"plain Service: no pod wanted":                   {[]string{sharedService, idle, stablePods}, nil, map[string]float64{"web Deployment/shop-canary": 0}},
		"plain Service: two canaries":                    {[]string{sharedService, canaryPods, deployment("shop-canary-b", "canary", "3", 3), stablePods}, nil, map[string]float64{"web Deployment/shop-canary": 12.5, "web Deployment/shop-canary-b": 37.5}},
		"plain Service of another release":               {[]string{canaryPods}, of(t, "stable", sharedService, stablePods), map[string]float64{"web Deployment/shop-canary": 20}},
		"the route of another release":                   {[]string{canaryService}, of(t, "stable", route80(split)), map[string]float64{"web HTTPRoute/shop": 25}},
		"a route of no release":                          {[]string{canaryService}, []string{route80(split)}, map[string]float64{"web HTTPRoute/shop": 25}},
		"a route that a Service names":                   {[]string{naming}, []string{route80(split)}, map[string]float64{"web HTTPRoute/shop": 25}},
		"a person's word":                                {[]string{chosen}, nil, map[string]float64{"web HTTPRoute/shop": 25}},
		"pods tell the canary's Service":                 {[]string{untracked, canaryPods, stablePods, route80(`[{name: shop, weight: 3}, {name: shop-next, weight: 1}]`)}, nil, map[string]float64{"web HTTPRoute/shop": 25}},
		"pods of a StatefulSet tell it, too":             {[]string{untracked, canaryPods, stateful, route80(`[{name: shop, weight: 3}, {name: shop-next, weight: 1}]`)}, nil, map[string]float64{"web HTTPRoute/shop": 25}},
		"one kind and name of two groups":                {[]string{canaryService, traefikService + `[{name: shop, weight: 9}, {name: shop-canary, weight: 1}]}}}`, strings.ReplaceAll(traefikService, "traefik.io", "traefik.containo.us") + `[{name: shop}, {name: shop-canary}]}}}`}, nil, map[string]float64{"web TraefikService/shop": 50}},
		"subsets of another release's route":             {[]string{strings.ReplaceAll(rules, "metadata: {name: shop}", "metadata: {name: subsets}"), canaryPods, deployment("stable", "stable", "1", 1)}, of(t, "stable", istio), map[string]float64{"web VirtualService/shop": 30}},
		"a host of another release's route":              {[]string{canaryService}, of(t, "stable", long), map[string]float64{"web VirtualService/shop": 25}},
		"one kind and name of two groups, the other way": {[]string{canaryService, traefikService + `[{name: shop}, {name: shop-canary}]}}}`, strings.ReplaceAll(traefikService, "traefik.io", "traefik.containo.us") + `[{name: shop, weight: 9}, {name: shop-canary, weight: 1}]}}}`}, nil, map[string]float64{"web TraefikService/shop": 50}},
		"two could be the canary":                        {[]string{guessed, `{apiVersion: v1, kind: Service, metadata: {name: shop-canary}}`, route80(`[{name: shop}, {name: beta-canary}, {name: shop-canary}]`)}, nil, nil},
		"no canary":                                      {[]string{sharedService, stablePods, route80(`[{name: shop}]`)}, nil, nil},
		"a release that is not opted in":                 {nil, of(t, "blog", canaryService, route80(split)), nil},
		"no release at all":                              {nil, []string{canaryService, route80(split)}, nil},
		"a release of that name elsewhere":               {nil, elsewhere, nil},
		"a subset that nobody describes":                 {[]string{canaryService}, of(t, "stable", strings.ReplaceAll(istio, "v2", "canary")), map[string]float64{"web VirtualService/shop": 30}},
		"a Service names a route of others":              {[]string{strings.ReplaceAll(naming, "HTTPRoute/shop", "HTTPRoute/blog")}, []string{route80(split), strings.ReplaceAll(route80(`[{name: a}, {name: b}]`), "name: shop}", "name: blog}")}, map[string]float64{"web HTTPRoute/shop": 25}},
		"the stable side's release has no canary":        {[]string{route80(split)}, of(t, "web-canary", canaryService), nil},
	} {
		t.Run(name, func(t *testing.T) {
			client := cluster(t, append(of(t, "web", c.live...), c.others...)...)
			g := gaugeOf(t, client, web)
			g.poll(t.Context(), "shop")
			if diff := cmp.Diff(c.want, g.shows(t), equateEmpty()); diff != "" {
				t.Errorf("the series (-want +got):\n%s\n%s", diff, g.log.String())
			}
			if diff := cmp.Diff(c.want, g.shares(t), equateEmpty()); diff != "" {
				t.Errorf("people are shown what the metric says (-want +got):\n%s", diff)
			}
			var m rollback.Manifest
			for _, text := range c.live {
				m = append(m, object(t, text))
			}
			seen, _ := (&Router{objects: client}).Look(t.Context(), shop(), m)
			looked := make(names)
			for _, w := range seen.Weights {
				looked["web "+w.Kind+"/"+w.Name] = true
			}
			if diff := cmp.Diff(sorted(looked), sorted(g.shows(t))); diff != "" {
				t.Errorf("a look at the release sees the same routes (-look +gauge):\n%s", diff)
			}
		})
	}
}

// equateEmpty compares a map that is not there as an empty one.
func equateEmpty() cmp.Option {
	return cmp.Transformer("", func(m map[string]float64) map[string]float64 {
		if m == nil {
			return map[string]float64{}
		}
		return maps.Clone(m)
	})
}

// A series follows what is live, and goes when its route, its release or the opt-in
// goes.
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
				o := &unstructured.Unstructured{Object: object(t, of(t, "web", route80(fmt.Sprintf(split, 100, 0)))[0])}
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
				client := cluster(t, append(of(t, "web", canaryService, route80(fmt.Sprintf(split, 80, 20))), of(t, "blog", strings.ReplaceAll(ingressWeight("10"), "shop-canary", "blog-canary"))...)...)
				opted := map[string]bool{"web": true, "blog": true}
				var mu sync.Mutex
				g := gaugeOf(t, client, func(k rollback.Key) bool {
					mu.Lock()
					defer mu.Unlock()
					return opted[k.Release]
				})
				stop := g.run(t)
				before := map[string]float64{"web HTTPRoute/shop": 20, "blog Ingress/blog-canary": 10}
				if diff := cmp.Diff(before, g.shows(t)); diff != "" {
					t.Errorf("at once (-want +got):\n%s", diff)
				}
				mu.Lock()
				c.change(t, client, opted)
				mu.Unlock()
				time.Sleep(gaugeInterval)
				synctest.Wait()
				if diff := cmp.Diff(c.want, g.shows(t)); diff != "" {
					t.Errorf("half a minute after the change (-want +got):\n%s", diff)
				}
				stop()
			})
		})
	}
}

// run runs the gauge until stop, which demands that it ends without an error. It is
// called in a bubble and returns after the first look.
func (g *gauge) run(t *testing.T) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	synctest.Wait()
	return func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("a gauge that is told to stop ends without an error: got %v", err)
		}
	}
}

// lists counts the lists asked of the cluster by their resource.
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
			t.Errorf("a list of %s is answered from the API server's memory: got version %q", a.GetResource().Resource, list.ListOptions.ResourceVersion)
		}
		found[a.GetResource().GroupResource().String()]++
	}
	client.ClearActions()
	return found
}

// However many releases there are, each kind is asked for once per namespace.
func TestGaugeAsksOncePerKind(t *testing.T) {
	var objects []string
	for i := range 30 {
		name := fmt.Sprintf("shop-%d", i)
		for _, text := range []string{canaryService, route80(`[{name: shop, weight: 80}, {name: shop-canary, weight: 20}]`), deployment("shop-canary", "canary", "1", 1)} {
			objects = append(objects, of(t, name, strings.ReplaceAll(strings.ReplaceAll(text, "name: shop-canary", "name: "+name+"-canary"), "name: shop}", "name: "+name+"}"))...)
		}
	}
	client := cluster(t, objects...)
	g := gaugeOf(t, client, func(rollback.Key) bool { return true })
	g.namespaces = []string{"shop", "empty"}
	for _, namespace := range g.namespaces {
		g.poll(t.Context(), namespace)
	}
	if got := g.shows(t); len(got) != 30 || got["shop-7 HTTPRoute/shop-7"] != 20 {
		t.Errorf("every release is shown: got %v", got)
	}
	for resource, n := range lists(t, client) {
		if n != len(g.namespaces) {
			t.Errorf("%s: %d lists in %d namespaces, want one each", resource, n, len(g.namespaces))
		}
	}
}

// What the cluster has not, and what may not be listed, is left out and asked for
// again after ten minutes only.
func TestGaugeLeavesOutWhatItCannotList(t *testing.T) {
	for name, c := range map[string]struct {
		refusal error
		lists   int // in two namespaces
	}{
		"the cluster has no such kind":   {apierrors.NewNotFound(schema.GroupResource{Resource: "virtualservices"}, ""), 1},
		"it is forbidden in a namespace": {apierrors.NewForbidden(schema.GroupResource{Resource: "virtualservices"}, "", errors.New("no")), 2},
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
					t.Errorf("asked for it %d times within ten minutes, want %d", got, c.lists)
				}
				if diff := cmp.Diff(map[string]float64{"web Ingress/shop-canary": 20}, g.shows(t)); diff != "" {
					t.Errorf("the other kinds are shown (-want +got):\n%s", diff)
				}
				if g.log.Len() > 0 {
					t.Errorf("what is most likely not in use is no news: logged %s", g.log.String())
				}
				refusal.set(nil)
				time.Sleep(gaugeInterval)
				synctest.Wait()
				if diff := cmp.Diff(map[string]float64{"web Ingress/shop-canary": 20, "web VirtualService/shop": 25}, g.shows(t)); diff != "" {
					t.Errorf("it is shown once it can be listed (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// Without the Services, the canary's side is unknown: somebody has to allow that.
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
			t.Errorf("it is said once what to allow: logged %q", got)
		}
	})
}

// A namespace that cannot be read keeps its series for some minutes, not for ever.
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
			{"it is shown", nil, 0, want, 0},
			{"an outage takes nothing away", errors.New("the API server is away"), gaugeInterval, want, 1},
			{"it is said once", errors.New("the API server is away"), staleLimit - gaugeInterval, want, 1},
			{"what is old is not shown", errors.New("the API server is away"), gaugeInterval, map[string]float64{}, 1},
			{"it comes back", nil, gaugeInterval, want, 1},
			{"another outage is said again", errors.New("the API server is away"), gaugeInterval, want, 2},
		} {
			outage.set(c.outage)
			time.Sleep(c.after)
			synctest.Wait()
			if diff := cmp.Diff(c.want, g.shows(t)); diff != "" {
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
		t.Errorf("nobody is asked: got %v", err)
	}
	if _, err := NewGauge(o); err == nil || !strings.Contains(err.Error(), "register the gauge of canary weights") {
		t.Errorf("a second one of the same registry is refused: got %v", err)
	}
}

// A list is read as the API server sends it, and one that ends too soon is no shorter
// list: series would go.
func TestGaugeReadsLists(t *testing.T) {
	const one = `{"kind": "ServiceList", "metadata": {"resourceVersion": "1", "continue": ""}, "items": [{"metadata": {"name": "shop", "managedFields": [{}]}, "spec": {"selector": {"app": "shop"}}, "status": {"loadBalancer": {}}}]}`
	for name, c := range map[string]struct {
		text string
		want int
		err  string
	}{
		"one object":                 {one, 1, ""},
		"items first":                {`{"items": [{"metadata": {"name": "a"}}, {"metadata": {"name": "b"}}], "kind": "ServiceList"}`, 2, ""},
		"no objects":                 {`{"items": []}`, 0, ""},
		"no objects, as null":        {`{"items": null, "metadata": {}}`, 0, ""},
		"cut off between objects":    {one[:len(one)-2], 0, "unexpected EOF"},
		"cut off after the objects":  {one[:len(one)-1], 0, "unexpected EOF"},
		"cut off within an object":   {one[:len(one)-30], 0, "unexpected EOF"},
		"nothing":                    {"", 0, "unexpected EOF"},
		"something else than a list": {`["a"]`, 0, "got [ where { belongs"},
	} {
		t.Run(name, func(t *testing.T) {
			k := looked()[slices.IndexFunc(looked(), func(k lookedAt) bool { return k.kind == "Service" })]
			got, err := k.decode(json.NewDecoder(strings.NewReader(c.text)))
			if c.err == "" && (err != nil || len(got) != c.want) {
				t.Errorf("got %d objects, %v; want %d", len(got), err, c.want)
			}
			if c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("got error %v, want %q", err, c.err)
			}
		})
	}
}

// answer is an error that lists are answered with, if there is one. It may change
// while the gauge runs.
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
