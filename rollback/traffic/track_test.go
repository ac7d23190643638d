package traffic

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/upcommerce/backout/rollback"
)

func preview() rollback.Track {
	return rollback.Track{Label: "role", Canary: []string{"canary", "preview"}}
}

// rolePods is a Deployment whose pods have the labels.
func rolePods(name, labels string) string {
	return `{apiVersion: apps/v1, kind: Deployment, metadata: {name: ` + name + `}, spec: {replicas: 1, template: {metadata: {labels: {` + labels + `}}, spec: {containers: [{name: web, image: shop}]}}}, status: {readyReplicas: 1}}`
}

// roleService is a Service that selects by the labels.
func roleService(name, labels string) string {
	return `{apiVersion: v1, kind: Service, metadata: {name: ` + name + `}, spec: {selector: {` + labels + `}, ports: [{port: 80}]}}`
}

// TestRoutesByTheTrackLabel: the pods that the configured label makes the canary's are found behind
// every kind of route, by the same answer.
func TestRoutesByTheTrackLabel(t *testing.T) {
	const (
		split   = `[{name: shop, weight: 80}, {name: shop-next, weight: 20}]`
		virtual = `{apiVersion: networking.istio.io/v1beta1, kind: VirtualService, metadata: {name: shop}, spec: {http: [{route: [{destination: {host: shop, subset: %a}, weight: 80}, {destination: {host: shop, subset: %b}, weight: 20}]}]}}`
		rule    = `{apiVersion: networking.istio.io/v1beta1, kind: DestinationRule, metadata: {name: shop}, spec: {host: shop, subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]}}`
	)
	stable, next := rolePods("shop", "app: shop, role: live, version: v1"), rolePods("shop-next", "app: shop, role: preview, version: v2")
	both, baseline := roleService("shop", "app: shop"), rolePods("shop-baseline", "app: shop, role: baseline, version: v1")
	subsets := func(a, b string) string { return strings.NewReplacer("%a", a, "%b", b).Replace(virtual) }
	for name, c := range map[string]struct {
		manifest, live []string
		changed        string
	}{
		"a Service of the release": {
			[]string{stable, next, roleService("shop-next", "app: shop, role: preview"), backendRefs(split)}, []string{backendRefs(split)}, "HTTPRoute/shop 20 -> 0",
		},
		"a Service by another label of the canary's pods": {
			[]string{stable, next, roleService("shop-next", "version: v2"), backendRefs(split)}, []string{backendRefs(split)}, "HTTPRoute/shop 20 -> 0",
		},
		"a Service of a canary that is a release of its own": {
			[]string{next, roleService("shop-next", "app: shop, role: preview")}, []string{backendRefs(split)}, "HTTPRoute/shop 20 -> 0",
		},
		"a described subset": {
			[]string{stable, next, both, rule, subsets("v1", "v2")}, []string{subsets("v1", "v2")}, "VirtualService/shop 20 -> 0",
		},
		"a subset that is called like a value, and not described": {
			[]string{stable, next, both, subsets("live", "preview")}, []string{subsets("live", "preview")}, "VirtualService/shop 20 -> 0",
		},
		"replicas behind a Service of both tracks": {
			[]string{stable, next, both}, []string{stable, next}, "Deployment/shop-next 1 -> 0",
		},
		"replicas behind the Service of another release": {
			[]string{next}, []string{stable, next, both}, "Deployment/shop-next 1 -> 0",
		},
		"the canary of another release takes nothing over": {
			[]string{next}, []string{rolePods("blog-next", "app: shop, role: canary"), next, both}, "",
		},
		"a baseline does": {
			[]string{next}, []string{baseline, next, both}, "Deployment/shop-next 1 -> 0",
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := routerOn(cluster(t, c.live...))
			r.track = preview()
			if got := shedText(t, r, manifest(t, c.manifest...)); got != c.changed {
				t.Errorf("got %q, want %q", got, c.changed)
			}
		})
	}
}

func shedText(t *testing.T, r *Router, m rollback.Manifest) string {
	t.Helper()
	changed, err := r.Shed(t.Context(), shop(), m, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, w := range changed {
		texts = append(texts, w.String())
	}
	return strings.Join(texts, ", ")
}

// TestCanaryPodsMarkTheirService: in a canary that is a release of its own, the annotation of an
// operator marks the pods, and with them a Service that selects by these labels.
func TestCanaryPodsMarkTheirService(t *testing.T) {
	const split = `[{name: shop, weight: 80}, {name: shop-next, weight: 20}]`
	annotated := func(labels string) string {
		return `{apiVersion: v1, kind: ConfigMap, metadata: {name: notes, annotations: {backout.dev/canary-pods: '` + labels + `'}}}`
	}
	pods := rolePods("shop-canary", "app: shop, release: next, tier: web")
	for name, c := range map[string]struct {
		manifest []string
		changed  string
	}{
		"by the label of the annotation":      {[]string{pods, annotated("release=next"), roleService("shop-next", "app: shop, release: next")}, "HTTPRoute/shop 20 -> 0"},
		"by all labels of the annotation":     {[]string{pods, annotated("release=next,tier=web"), roleService("shop-next", "release: next, tier: web")}, "HTTPRoute/shop 20 -> 0"},
		"by labels that others may have too":  {[]string{pods, annotated("release=next,tier=web"), roleService("shop-next", "app: shop, tier: web")}, ""},
		"a Service that selects no such pods": {[]string{pods, annotated("release=next"), roleService("shop-next", "release: next, app: blog")}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			if got := shedText(t, routerOn(cluster(t, backendRefs(split))), manifest(t, c.manifest...)); got != c.changed {
				t.Errorf("got %q, want %q", got, c.changed)
			}
		})
	}
}

// TestBackendsOfFlaggerAndArgoRollouts: the tool's own rules say which Service leads to the canary,
// because both Services of a Rollout select the same pods in the manifest.
func TestBackendsOfFlaggerAndArgoRollouts(t *testing.T) {
	const rollout = `{apiVersion: argoproj.io/v1alpha1, kind: Rollout, metadata: {name: shop}, spec: {template: {metadata: {labels: {app: shop}}, spec: {containers: [{name: web, image: shop}]}}, strategy: {canary: {canaryService: shop-next, stableService: shop}}}}`
	const flagger = `{apiVersion: flagger.app/v1beta1, kind: Canary, metadata: {name: shop}, spec: {targetRef: {apiVersion: apps/v1, kind: Deployment, name: shop}, service: {port: 80}}}`
	worker := rolePods("worker", "app: worker")
	for name, c := range map[string]struct {
		manifest []string
		want     string
	}{
		"Argo Rollouts": {[]string{rollout, worker, roleService("shop", "app: shop"), roleService("shop-next", "app: shop")}, "shop-next"},
		"Flagger":       {[]string{flagger, rolePods("shop", "app: shop"), worker, roleService("shop", "app: shop")}, "shop-canary"},
	} {
		side := newRegistry().canaryOf(manifest(t, c.manifest...), rollback.Track{})
		if got := strings.Join(side.services.UnsortedList(), ","); got != c.want {
			t.Errorf("%s: got the canary's Services %q, want %q", name, got, c.want)
		}
	}
}

// TestHoldTarget: a canary that is to stay at zero has none of the weight that its revision declares,
// whatever kind of route it has.
func TestHoldTarget(t *testing.T) {
	const split = `[{name: shop, weight: 80}, {name: shop-canary, weight: 20}]`
	stable, next := rolePods("shop", "app: shop, track: stable"), rolePods("shop-canary", "app: shop, track: canary")
	both, own := roleService("shop", "app: shop"), roleService("shop-canary", "track: canary")
	for name, c := range map[string]struct {
		manifest, live []string
		path           []string
		err            string
	}{
		"a route that Helm makes":  {[]string{stable, next, both, own, backendRefs(split)}, nil, []string{"spec", "rules"}, ""},
		"replicas":                 {[]string{stable, next, both}, nil, []string{"spec", "replicas"}, ""},
		"a route of the namespace": {[]string{stable, next, both, own}, []string{backendRefs(split)}, nil, ""},
		"no route":                 {[]string{stable, next, both, own}, nil, nil, rollback.ErrNoRoute.Error()},
		"an ambiguous route":       {[]string{stable, next, roleService("shop-a", "x: y"), roleService("shop-b", "x: z"), backendRefs(`[{name: shop-a, weight: 1}, {name: shop-b, weight: 1}]`)}, []string{backendRefs(`[{name: shop-a, weight: 1}, {name: shop-b, weight: 1}]`)}, nil, "which backend is the canary"},
		"a plain release":          {[]string{stable, both}, nil, nil, rollback.ErrNoRoute.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			m := manifest(t, c.manifest...)
			hold, err := routerOn(cluster(t, c.live...)).HoldTarget(t.Context(), shop(), m)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) || hold != nil {
					t.Errorf("got error %v, want %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			held := manifest(t, c.manifest...)
			for _, o := range held {
				hold(o)
			}
			for i, o := range held {
				u := &unstructured.Unstructured{Object: o}
				value, _, _ := unstructured.NestedFieldNoCopy(o, "spec", "replicas")
				n, _ := number(value)
				switch {
				case u.GetKind() == deploymentKind && u.GetName() == "shop-canary" && c.path != nil && c.path[1] == "replicas":
					if n != 0 {
						t.Errorf("%d replicas of the canary, want none", n)
					}
				case u.GetKind() == "HTTPRoute":
					for _, s := range newRegistry().canaryOf(m, rollback.Track{}).splitsOf(t, u) {
						if s.canaryWeight() != 0 || s.total() != 100 {
							t.Errorf("weight %d of %d, want 0 of 100", s.canaryWeight(), s.total())
						}
					}
				case u.GetKind() == deploymentKind && n != 1:
					t.Errorf("%d replicas of %s, want those of %v", n, u.GetName(), m[i]["spec"])
				}
			}
		})
	}
}

// splitsOf returns the lists of an HTTPRoute.
func (c canary) splitsOf(t *testing.T, o *unstructured.Unstructured) []split {
	t.Helper()
	all := gatewayAPI().splits(o, c)
	if len(all) == 0 {
		t.Fatal("the route has no list that leads to the canary")
	}
	return all
}

// TestTheGaugeGoesByTheTrackLabel: the metric has the routes that a shed would write.
func TestTheGaugeGoesByTheTrackLabel(t *testing.T) {
	const virtual = `{apiVersion: networking.istio.io/v1beta1, kind: VirtualService, metadata: {name: shop}, spec: {http: [{route: [{destination: {host: shop, subset: live}, weight: 80}, {destination: {host: shop, subset: preview}, weight: 20}]}]}}`
	stable, next := rolePods("shop", "app: shop, role: live"), rolePods("shop-next", "app: shop, role: preview")
	for route, objects := range map[string][]string{
		"HTTPRoute/shop":      append(of(t, "shop", stable, next, roleService("shop-next", "role: preview")), backendRefs(`[{name: shop, weight: 80}, {name: shop-next, weight: 20}]`)),
		"VirtualService/shop": of(t, "shop", stable, next, roleService("shop", "app: shop"), virtual),
	} {
		g := gaugeOf(t, cluster(t, objects...), func(rollback.Key) bool { return true })
		g.track = preview()
		g.poll(t.Context(), "shop")
		found := false
		for series, percent := range g.scrape(t) {
			found = found || strings.Contains(series, route) && percent == 20
		}
		if !found {
			t.Errorf("%s: want 20%%, got %v", route, g.scrape(t))
		}
	}
}
