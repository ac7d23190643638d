package helm

import (
	"slices"
	"strings"
	"testing"
)

// twoTracks is a release with a canary: its objects, and those of the stable track, Jobs
// and what both have.
const twoTracks = `---
apiVersion: v1
kind: ConfigMap
metadata: {name: shop-config}
data: {banner: hello}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: shop-both}
data: {both: one}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop, annotations: {random: x1}}
spec:
  replicas: 4
  template:
    metadata: {labels: {app: shop, track: stable}}
    spec:
      serviceAccountName: shop-stable
      volumes: [{name: s, persistentVolumeClaim: {claimName: shop-data}}]
      containers: [{name: web, image: "shop:v2", envFrom: [{configMapRef: {name: shop-config}}, {configMapRef: {name: shop-both}}, {secretRef: {name: shop-stable-key}}]}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: shop-canary, labels: {helm.sh/chart: web-1.0.0}}
spec:
  replicas: 1
  template:
    metadata: {labels: {app: shop, track: canary, chart-version: web-1.0.0}, annotations: {rollme: "abcde"}}
    spec: {containers: [{name: web, image: "shop:v3", env: [{name: COLOR, value: blue}], envFrom: [{configMapRef: {name: shop-both}}]}]}
---
apiVersion: batch/v1
kind: Job
metadata: {name: shop-migrate-3}
spec: {template: {spec: {restartPolicy: Never, containers: [{name: m, image: "migrate:v1", envFrom: [{configMapRef: {name: shop-migration}}]}]}}}
---
apiVersion: batch/v1
kind: CronJob
metadata: {name: shop-report}
spec: {jobTemplate: {spec: {template: {spec: {containers: [{name: m, image: "report:v1"}]}}}}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: shop-migration}
data: {sql: "one"}
---
apiVersion: v1
kind: Secret
metadata: {name: shop-tls}
data: {tls.crt: AAAA}
---
apiVersion: external-secrets.io/v1
kind: ExternalSecret
metadata: {name: shop-stable}
spec: {target: {name: shop-stable-key}, refreshInterval: 1h}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: shop-stable, annotations: {role.example/arn: one}}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: shop-data}
spec: {resources: {requests: {storage: 1Gi}}}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: shop}
spec: {scaleTargetRef: {kind: Deployment, name: shop}, minReplicas: 2, maxReplicas: 9}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: shop-canary}
spec: {scaleTargetRef: {kind: Deployment, name: shop-canary}, minReplicas: 1, maxReplicas: 3}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: shop}
spec: {podSelector: {}}
---
apiVersion: v1
kind: Service
metadata: {name: shop-canary, annotations: {rollme: "12", deployed.example/at: "2026-11-30T10:00:00Z"}}
spec: {selector: {track: canary}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: shop, annotations: {example.com/revision: "shop-3"}}
spec: {rules: [{matches: [{path: {value: /}}], backendRefs: [{name: shop, port: 80, weight: 80}, {name: shop-canary, port: 80, weight: 20}]}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: shop
  annotations:
    nginx.ingress.kubernetes.io/canary: "true"
    nginx.ingress.kubernetes.io/canary-weight: "20"
    nginx.ingress.kubernetes.io/proxy-read-timeout: "60"
    alb.ingress.kubernetes.io/actions.shop: '{"ForwardConfig": {"TargetGroups": [{"ServiceName": "shop", "Weight": 80}]}}'
spec: {tls: [{secretName: shop-tls}]}
`

func TestContentOfACanary(t *testing.T) {
	before, _ := digest(twoTracks)
	for _, c := range []struct {
		what, old, new string
		counts         bool
	}{
		{"a random annotation of its pods, Helm's own tip", `rollme: "abcde"`, `rollme: "fghij"`, false},
		{"a Job named after the revision", "shop-migrate-3", "shop-migrate-4", false},
		{"the image of a Job", "migrate:v1", "migrate:v2", false},
		{"a ConfigMap that only a Job reads", `sql: "one"`, `sql: "two"`, false},
		{"a CronJob", "report:v1", "report:v2", false},
		{"a ConfigMap that only the stable track reads", "banner: hello", "banner: bye", false},
		{"the source of a Secret that only the stable track reads", "refreshInterval: 1h", "refreshInterval: 2h", false},
		{"the ServiceAccount of the stable track", "role.example/arn: one", "role.example/arn: two", false},
		{"a claim of the stable track", "storage: 1Gi", "storage: 2Gi", false},
		{"the stable track's image", "shop:v2", "shop:v2.1", false},
		{"the stable track's autoscaler", "minReplicas: 2, maxReplicas: 9", "minReplicas: 3, maxReplicas: 9, metrics: []", false},
		{"the numbers of the canary's autoscaler", "minReplicas: 1, maxReplicas: 3", "minReplicas: 2, maxReplicas: 6", false},
		{"the canary's replicas", "replicas: 1\n", "replicas: 5\n", false},
		{"a weight", "weight: 20", "weight: 50", false},
		{"both weights", "weight: 80}, {name: shop-canary, port: 80, weight: 20", "weight: 50}, {name: shop-canary, port: 80, weight: 50", false},
		{"the weight of a canary Ingress", `canary-weight: "20"`, `canary-weight: "50"`, false},
		{"a weight within an annotation", `"Weight": 80`, `"Weight": 50`, false},
		{"a random annotation of another object", `rollme: "12"`, `rollme: "13"`, false},
		{"a time", "2026-11-30T10:00:00Z", "2026-11-30T11:00:00Z", false},
		{"the chart's label", "helm.sh/chart: web-1.0.0", "helm.sh/chart: web-1.0.1", false},
		{"the canary's image", "shop:v3", "shop:v4", true},
		{"a variable of the canary", "value: blue", "value: green", true},
		{"a ConfigMap that both tracks read", "both: one", "both: two", true},
		{"a Secret of a route", "tls.crt: AAAA", "tls.crt: BBBB", true},
		{"a NetworkPolicy", "podSelector: {}", "podSelector: {}, policyTypes: [Ingress]", true},
		{"a Service's port", "targetPort: 8080", "targetPort: 8081", true},
		{"a Service's selector", "selector: {track: canary}", "selector: {track: canary, app: shop}", true},
		{"a route's rule", "{path: {value: /}}", "{path: {value: /new}}", true},
		{"a route's backend", "{name: shop-canary, port: 80,", "{name: shop-canary, port: 81,", true},
		{"an Ingress's annotation", `proxy-read-timeout: "60"`, `proxy-read-timeout: "1"`, true},
		{"a backend within an annotation", `"ServiceName": "shop"`, `"ServiceName": "old"`, true},
	} {
		changed := strings.ReplaceAll(twoTracks, c.old, c.new)
		if changed == twoTracks {
			t.Fatalf("%s: the manifest has no %q", c.what, c.old)
		}
		if after, _ := digest(changed); after == "" || (after != before) != c.counts {
			t.Errorf("%s is part of the content: want %t, got %t", c.what, c.counts, after != before)
		}
	}
}

// TestContentOfARamp: labels and annotations name each step of the ramp after itself.
func TestContentOfARamp(t *testing.T) {
	step := func(number, chart, weight string) string {
		m := strings.NewReplacer(`"shop-3"`, `"shop-`+number+`"`, "web-1.0.0", chart, "weight: 20", "weight: "+weight, `"abcde"`, `"`+number+weight+`"`,
			"migrate-3", "migrate-"+number, "banner: hello", "banner: "+number).Replace(twoTracks)
		return contentAt(m, number, chart).digest
	}
	first, second, third := step("3", "web-1.0.0", "5"), step("4", "web-1.0.1", "20"), step("12", "web-1.0.2", "50")
	if first == "" || first != second || second != third {
		t.Errorf("a ramp is one content: got %s, %s and %s", first, second, third)
	}
}

// A Job of the canary, which has its label, is named after the revision in many charts: it is no
// part of the content, as no Job is.
func TestAJobOfTheCanaryIsNoContent(t *testing.T) {
	step := func(number string) string {
		return contentAt(twoTracks+"---\napiVersion: batch/v1\nkind: Job\nmetadata: {name: shop-smoke-"+number+"}\nspec: {template: {metadata: {labels: {track: canary}}, "+
			"spec: {restartPolicy: Never, containers: [{name: smoke, image: 'smoke:v"+number+"'}]}}}\n", "3").digest
	}
	if first, second := step("3"), step("4"); first == "" || first != second {
		t.Errorf("a ramp with a Job of the canary is one content: got %s and %s", first, second)
	}
}

// TestContentOfAPlainRelease: without a canary, every workload counts.
func TestContentOfAPlainRelease(t *testing.T) {
	plain := strings.Replace(twoTracks, "track: canary, chart-version", "track: new, chart-version", 1)
	before := contentAt(plain, "3")
	if before.canary != "" || len(before.pods) != 3 {
		t.Errorf("a release without a canary's pods is a plain one: got %q, %d pods", before.canary, len(before.pods))
	}
	for _, c := range []struct {
		what, old, new string
		counts         bool
	}{
		{"a workload's image", "shop:v2", "shop:v2.1", true},
		{"its configuration", "banner: hello", "banner: bye", true},
		{"a Job named after the revision", "shop-migrate-3", "shop-migrate-4", false},
		{"a random annotation of its pods", `rollme: "abcde"`, `rollme: "fghij"`, false},
		{"replicas", "replicas: 4", "replicas: 5", false},
		{"a Service's port", "targetPort: 8080", "targetPort: 8081", true},
	} {
		if after := contentAt(strings.ReplaceAll(plain, c.old, c.new), "3"); (after.digest != before.digest) != c.counts {
			t.Errorf("%s is part of the content: want %t", c.what, c.counts)
		}
	}
}

// TestPodsOfATrack: a pod is the same under the canary's name and under the stable one's.
func TestPodsOfATrack(t *testing.T) {
	track := func(name, track, color string) string {
		return "---\nkind: ConfigMap\napiVersion: v1\nmetadata: {name: " + name + "-config}\ndata: {color: " + color + "}\n" +
			"---\nkind: Deployment\napiVersion: apps/v1\nmetadata: {name: " + name + "}\nspec: {template: {metadata: {labels: {track: " + track + ", app: " + name +
			"}}, spec: {containers: [{name: web, image: 'shop:v2', env: [{name: TRACK, value: " + track + "}, {name: SELF, value: " + name + "}], envFrom: [{configMapRef: {name: " + name + "-config}}]}]}}}\n"
	}
	canary, promoted := contentAt(track("shop-canary", "canary", "blue"), "2"), contentAt(track("shop", "stable", "blue"), "3")
	other := contentAt(track("shop", "stable", "red"), "3")
	if canary.canary == "" || len(canary.pods) != 1 || !slices.Equal(canary.pods, promoted.pods) || slices.Equal(canary.pods, other.pods) {
		t.Errorf("a promoted canary runs the same pods, and pods with other configuration are others: got %q, %q and %q", canary.pods, promoted.pods, other.pods)
	}
	if !slices.Equal(canary.images, []string{"shop:v2"}) {
		t.Errorf("the canary's images: got %q", canary.images)
	}
}
