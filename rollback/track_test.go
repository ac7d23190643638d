package rollback_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/upcommerce/backout/rollback"
)

// serviceOf returns a Service that selects by the labels; its port is 80.
func serviceOf(name, selector string) string {
	return "---\napiVersion: v1\nkind: Service\nmetadata: {name: " + name + "}\nspec: {selector: {" + selector + "}, ports: [{port: 80}]}\n"
}

// route returns an HTTPRoute with these backends in one rule.
func route(backends ...string) string {
	refs := make([]string, len(backends))
	for i, b := range backends {
		refs[i] = "{name: " + b + ", weight: 50}"
	}
	return "---\nkind: HTTPRoute\nmetadata: {name: shop}\nspec: {rules: [{backendRefs: [" + strings.Join(refs, ", ") + "]}]}\n"
}

// pair returns the two workloads of a release without a track label.
func pair() string {
	return declared("Deployment", "shop", podTemplate("app: shop")) + declared("Deployment", "shop-canary", podTemplate("app: shop-canary"))
}

// lokiCanary is the shape of Loki's chart: a DaemonSet that probes Loki is called
// loki-canary, and so is its Service.
const lokiCanary = `---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: loki}
spec: {template: {metadata: {labels: {name: loki, instance: loki, component: single-binary}}, spec: {containers: [{name: loki, image: "grafana/loki:3.5"}]}}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: loki-canary}
spec: {template: {metadata: {labels: {name: loki, instance: loki, component: canary}}, spec: {containers: [{name: loki-canary, image: "grafana/loki-canary:3.5"}]}}}
---
apiVersion: v1
kind: Service
metadata: {name: loki}
spec: {selector: {name: loki, instance: loki, component: single-binary}, ports: [{name: http-metrics, port: 3100}, {name: grpc, port: 9095}]}
---
apiVersion: v1
kind: Service
metadata: {name: loki-canary}
spec: {selector: {name: loki, instance: loki, component: canary}, ports: [{name: http-metrics, port: 3500}]}
---
apiVersion: v1
kind: Service
metadata: {name: loki-headless}
spec: {clusterIP: None, selector: {name: loki, instance: loki}, ports: [{name: http-metrics, port: 3100}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: loki}
spec: {rules: [{http: {paths: [{path: /, backend: {service: {name: loki}}}, {path: /canary, backend: {service: {name: loki-canary}}}]}}]}
`

func TestTheCanary(t *testing.T) {
	stable, next := serviceOf("shop", "app: shop"), serviceOf("shop-canary", "app: shop-canary")
	for rule, c := range map[string]struct {
		manifest string
		want     []string
	}{
		"the track label makes a canary": {
			declared("Deployment", "web", podTemplate("track: stable")) + declared("Deployment", "new", podTemplate("track: canary")),
			[]string{"web", "new*"},
		},
		"a baseline is the stable track's": {
			declared("Deployment", "web-baseline", podTemplate("track: baseline")) + declared("Deployment", "new", podTemplate("track: canary")),
			[]string{"web-baseline", "new*"},
		},
		"where labels distinguish the tracks, names do not count": {
			declared("Deployment", "shop-canary", podTemplate("track: stable, app: shop-canary")) + declared("Deployment", "shop", podTemplate("track: canary, app: shop")) + stable + next,
			[]string{"shop-canary", "shop*"},
		},
		"a name alone makes no canary":  {pair(), []string{"shop", "shop-canary"}},
		"a name and a pair of Services": {pair() + stable + next, []string{"shop", "shop-canary*"}},
		"a name and a route":            {pair() + next + route("main", "shop-canary"), []string{"shop", "shop-canary*"}},
		"a name and splits of NGINX": {pair() + next + "---\nkind: VirtualServer\nmetadata: {name: shop}\nspec: {upstreams: [{name: a, service: main}, {name: b, service: shop-canary}], " +
			"routes: [{splits: [{weight: 90, action: {pass: a}}, {weight: 10, action: {proxy: {upstream: b}}}]}]}\n", []string{"shop", "shop-canary*"}},
		"a name and upstreams of NGINX that nothing splits": {pair() + next + "---\nkind: VirtualServer\nmetadata: {name: shop}\nspec: {upstreams: [{name: a, service: main}, {name: b, service: shop-canary}], " +
			"routes: [{path: /, action: {pass: a}}, {path: /probe, action: {pass: b}}]}\n", []string{"shop", "shop-canary"}},
		"a name and a Route of OpenShift": {pair() + next + "---\nkind: Route\nmetadata: {name: shop}\nspec: {to: {name: main}, alternateBackends: [{name: shop-canary}]}\n", []string{"shop", "shop-canary*"}},
		"a name and a RouteGroup": {pair() + next + "---\nkind: RouteGroup\nmetadata: {name: shop}\nspec: {backends: [{name: a, serviceName: main}, {name: b, serviceName: shop-canary}], " +
			"defaultBackends: [{backendName: a, weight: 1}, {backendName: b, weight: 1}]}\n", []string{"shop", "shop-canary*"}},
		"a name and a RouteGroup with a route to each backend": {pair() + next + "---\nkind: RouteGroup\nmetadata: {name: shop}\nspec: {backends: [{name: a, serviceName: main}, {name: b, serviceName: shop-canary}], " +
			"routes: [{backends: [{backendName: a}]}, {path: /probe, backends: [{backendName: b}]}]}\n", []string{"shop", "shop-canary"}},
		"a name and a route that leads nowhere else":  {pair() + next + route("shop-canary"), []string{"shop", "shop-canary"}},
		"a name and a route that an annotation names": {pair() + strings.Replace(next, "{name: shop-canary}", "{name: shop-canary, annotations: {backout.dev/route: HTTPRoute/x}}", 1), []string{"shop", "shop-canary*"}},
		"a name and a Service of both tracks": {
			declared("Deployment", "shop", podTemplate("app: shop")) + declared("Deployment", "shop-canary", podTemplate("app: shop, x: y")) + stable,
			[]string{"shop", "shop-canary*"},
		},
		"a pair of Services of Argo Rollouts or Flagger": {pair() + serviceOf("shop-stable", "app: shop") + next, []string{"shop", "shop-canary*"}},
		"Services with different ports are no pair":      {pair() + stable + strings.Replace(next, "port: 80", "port: 9090", 1), []string{"shop", "shop-canary"}},
		"Services of different programs are no pair":     {strings.Replace(pair(), "image: a", "image: x/prober", 1) + stable + next, []string{"shop", "shop-canary"}},
		"Services of different kinds are no pair":        {strings.Replace(pair(), "Deployment\nmetadata: {name: shop-canary}", "DaemonSet\nmetadata: {name: shop-canary}", 1) + stable + next, []string{"shop", "shop-canary"}},
		"Loki's probe is no canary":                      {lokiCanary, []string{"loki", "loki-canary"}},
		"a subset of Istio": {
			declared("Deployment", "shop", podTemplate("app: shop, version: v1")) + declared("Deployment", "shop-v2", podTemplate("app: shop, version: v2")) + stable +
				declared("DestinationRule", "shop", "host: shop.team.svc, subsets: [{name: stable, labels: {version: v1}}, {name: canary, labels: {version: v2}}]"),
			[]string{"shop", "shop-v2*"},
		},
		"a subset of Istio has no pods that are not behind its Service": {
			declared("Deployment", "shop", podTemplate("app: shop, version: v1")) + declared("Deployment", "shop-v2", podTemplate("app: shop, version: v2")) + stable +
				declared("Deployment", "payments", podTemplate("app: payments, version: v2")) + serviceOf("payments", "app: payments") +
				declared("DestinationRule", "shop", "host: shop, subsets: [{name: stable, labels: {version: v1}}, {name: canary, labels: {version: v2}}]"),
			[]string{"shop", "shop-v2*", "payments"},
		},
		"a canary Ingress leads to its backends, not to its certificate or class": {
			pair() + stable + next + `---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: next, annotations: {nginx.ingress.kubernetes.io/canary: "true"}}
spec:
  ingressClassName: shop
  tls: [{secretName: shop, hosts: [shop]}]
  rules: [{host: shop, http: {paths: [{path: /, backend: {service: {name: shop-canary, port: {name: shop}}}}]}}]
`,
			[]string{"shop", "shop-canary*"},
		},
		"a subset that every pod is in": {
			pair() + declared("DestinationRule", "shop", "host: shop, subsets: [{name: canary, labels: {}}]"),
			[]string{"shop", "shop-canary"},
		},
		"a conventional label and a Service of both tracks": {
			declared("Deployment", "one", podTemplate("app: shop")) + declared("Deployment", "two", podTemplate("app: shop, role: canary")) + stable,
			[]string{"one", "two*"},
		},
		"a conventional label that nothing confirms": {
			declared("Deployment", "one", podTemplate("app: shop")) + declared("Deployment", "two", podTemplate("role: canary")) + stable,
			[]string{"one", "two"},
		},
		"a canary Ingress": {
			declared("Deployment", "one", podTemplate("app: one")) + declared("Deployment", "two", podTemplate("app: two")) + serviceOf("two", "app: two") +
				"---\nkind: Ingress\nmetadata: {name: x, annotations: {nginx.ingress.kubernetes.io/canary: 'true'}}\nspec: {rules: [{http: {paths: [{backend: {service: {name: two}}}]}}]}\n",
			[]string{"one", "two*"},
		},
		"the workload to which Flagger shifts requests": {
			declared("Deployment", "shop", podTemplate("app: shop")) + declared("Deployment", "redis", podTemplate("app: redis")) +
				"---\napiVersion: flagger.app/v1beta1\nkind: Canary\nmetadata: {name: x}\nspec: {targetRef: {kind: Deployment, name: shop}}\n",
			[]string{"shop*", "redis"},
		},
		"a Rollout of Argo Rollouts": {
			strings.ReplaceAll(declared("Rollout", "shop", podTemplate("app: shop")+", strategy: {canary: {steps: []}}"), "x/v1", "argoproj.io/v1alpha1") + declared("Deployment", "redis", podTemplate("app: redis")),
			[]string{"shop*", "redis"},
		},
		"a Rollout of a workload": {
			declared("Deployment", "shop", podTemplate("app: shop")) + declared("Deployment", "redis", podTemplate("app: redis")) +
				strings.ReplaceAll(declared("Rollout", "x", "workloadRef: {kind: Deployment, name: shop}, strategy: {canary: {}}"), "x/v1", "argoproj.io/v1alpha1"),
			[]string{"shop*", "redis"},
		},
		"a Rollout with another strategy": {
			strings.ReplaceAll(declared("Rollout", "shop", podTemplate("app: shop")+", strategy: {blueGreen: {}}"), "x/v1", "argoproj.io/v1alpha1") + declared("Deployment", "redis", podTemplate("app: redis")),
			[]string{"shop", "redis"},
		},
		"a Canary of another tool": {
			declared("Deployment", "shop", podTemplate("app: shop")) + declared("Canary", "x", "targetRef: {kind: Deployment, name: shop}"),
			[]string{"shop"},
		},
		"the track label wins over Flagger": {
			declared("Deployment", "shop", podTemplate("app: shop")) + declared("Deployment", "new", podTemplate("track: canary")) +
				"---\napiVersion: flagger.app/v1beta1\nkind: Canary\nmetadata: {name: x}\nspec: {targetRef: {kind: Deployment, name: shop}}\n",
			[]string{"shop", "new*"},
		},
		"an operator's labels win over everything": {
			declared("Deployment", "shop", podTemplate("track: canary")) + declared("Deployment", "next", podTemplate("tier: web, new: 'yes'")) +
				"---\nkind: ConfigMap\nmetadata: {name: x, annotations: {backout.dev/canary-pods: 'tier=web, new=yes'}}\n",
			[]string{"shop", "next*"},
		},
		"an operator's labels that cannot be read choose nothing": {
			declared("Deployment", "shop", podTemplate("a: b")) + "---\nkind: ConfigMap\nmetadata: {name: x, annotations: {backout.dev/canary-pods: 'a in (b)'}}\n",
			[]string{"shop"},
		},
		"an operator's backend": {
			declared("Deployment", "one", podTemplate("app: one")) + declared("Deployment", "two", podTemplate("app: two")) + serviceOf("two", "app: two") +
				strings.Replace(route("one", "two"), "{name: shop}", "{name: shop, annotations: {backout.dev/canary: two}}", 1),
			[]string{"one", "two*"},
		},
		"a Job of the canary says nothing about what serves": {
			declared("Job", "migrate", podTemplate("track: canary")) + declared("Deployment", "shop", podTemplate("a: b")),
			[]string{"migrate", "shop"},
		},
		"a Job of the canary is its own": {
			declared("Job", "migrate", podTemplate("track: canary")) + declared("Deployment", "new", podTemplate("track: canary")) + declared("Deployment", "old", podTemplate("a: b")),
			[]string{"migrate*", "new*", "old"},
		},
		"a Pod has the labels itself": {"kind: Pod\nmetadata: {name: web, labels: {track: canary}}\n", []string{"web*"}},
	} {
		m := decode(t, c.manifest)
		if got := namesOf((rollback.Track{}).Workloads(m)); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %q, want %q", rule, got, c.want)
		}
		for _, w := range (rollback.Track{}).Workloads(m) {
			if w.Canary != (w.Why != "") {
				t.Errorf("%s: a canary says why it is one, and the others do not: got %+v", rule, w)
			}
		}
	}
}

// TestTrackLabel: the label and its values are configurable.
func TestTrackLabel(t *testing.T) {
	m := decode(t, declared("Deployment", "old", podTemplate("track: canary"))+declared("Deployment", "new", podTemplate("release: next"))+
		declared("Deployment", "newer", podTemplate("release: edge")))
	track := rollback.Track{Label: "release", Canary: []string{"next", "edge"}}
	if got, want := namesOf(track.Workloads(m)), []string{"old", "new*", "newer*"}; !slices.Equal(got, want) {
		t.Errorf("the configured label decides: got %q, want %q", got, want)
	}
	baseline := decode(t, declared("Deployment", "old", podTemplate("release: live"))+declared("Deployment", "b", podTemplate("release: baseline")))
	if got, want := namesOf(track.Workloads(baseline)), []string{"old", "b"}; !slices.Equal(got, want) {
		t.Errorf("a baseline is the stable track's: got %q, want %q", got, want)
	}
	if got, want := rollback.DescribeCanary(track.Workloads(m)), "Deployment new: its pods have the label release=next; Deployment newer: its pods have the label release=edge"; got != want {
		t.Errorf("backout says what it takes for the canary and why: got %q, want %q", got, want)
	}
}

// TestParseTrack: the label and its values are those that Kubernetes allows.
func TestParseTrack(t *testing.T) {
	for text, want := range map[string]string{
		"track=canary":                         "track=canary",
		"role=canary,preview":                  "role=canary,preview",
		" example.com/role = canary , preview": "example.com/role=canary,preview",
		"track":                                "want LABEL=VALUE",
		"":                                     "want LABEL=VALUE",
		"=canary":                              "is no name of a label",
		"a/b/c=canary":                         "is no name of a label",
		"Example.com/role=canary":              "is no name of a label",
		"role=":                                "is no value of a label",
		"role=canary,":                         "is no value of a label",
		"role in (canary)":                     "want LABEL=VALUE",
		"role=canary,role=preview":             "is no value of a label",
		"role=" + strings.Repeat("a", 64):      "is no value of a label",
		"track=canary,baseline":                "the value baseline is the stable track's",
		"track=stable":                         "the value stable is the stable track's",
		"role=canary,canary":                   "the value canary is listed twice",
	} {
		got, err := rollback.ParseTrack(text)
		if err == nil && got.String() != want || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: want %q, got %s, %v", text, want, got, err)
		}
	}
	if got := (rollback.Track{}).String(); got != "track=canary" {
		t.Errorf("the zero Track is the default: got %s", got)
	}
}

// TestTheCanaryOfALargeManifest: a manifest is not searched without bounds.
func TestTheCanaryOfALargeManifest(t *testing.T) {
	m := decode(t, pair()+serviceOf("shop", "app: shop")+serviceOf("shop-canary", "app: shop-canary"))
	if got := (rollback.Track{}).Workloads(m); !got[1].Canary {
		t.Fatal("a pair of Services confirms a name")
	}
	other := decode(t, declared("Deployment", "other-canary", podTemplate("a: b")))
	for range 5000 {
		m = append(m, other[0], m[2])
	}
	if got := (rollback.Track{}).Workloads(m); got[1].Canary {
		t.Error("in a large manifest, names do not count")
	}
	m = append(m, decode(t, declared("Deployment", "new", podTemplate("track: canary")))...)
	if got := (rollback.Track{}).Workloads(m); !got[len(got)-1].Canary {
		t.Error("in a large manifest, labels count")
	}
}
