package helm

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/helm"
)

// good and bad are the two revisions of these tests: each has objects and fields that the
// other one lacks.
const (
	good = `apiVersion: v1
kind: ConfigMap
metadata: {name: both, labels: {track: good, only-good: "1"}}
data: {shared: good, only-good: "1"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: only-good}
data: {a: b}
---
apiVersion: v1
kind: List
items:
  - apiVersion: v1
    kind: ConfigMap
    metadata: {name: listed}
    data: {shared: good}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: hook, annotations: {helm.sh/hook: pre-rollback}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web, version: good}}
    spec:
      nodeSelector: {nowhere: "true"}
      containers:
        - {name: web, image: "web:good", env: [{name: A, value: good}, {name: ONLY_GOOD, value: "1"}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, annotations: {nginx.ingress.kubernetes.io/canary: "true", nginx.ingress.kubernetes.io/canary-weight: "20"}}
spec: {defaultBackend: {service: {name: web, port: {number: 80}}}}
---
apiVersion: shop.example/v1
kind: Widget
metadata: {name: both}
spec: {shared: good, only-good: 1, rules: [{weight: 80}, {weight: 20}]}
---
apiVersion: shop.example/v1
kind: Widget
metadata: {name: only-good}
spec: {shared: good}
`
	bad = `apiVersion: v1
kind: ConfigMap
metadata: {name: both, labels: {track: bad, only-bad: "1"}}
data: {shared: bad, only-bad: "1"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: only-bad}
data: {a: b}
---
apiVersion: v1
kind: List
items:
  - apiVersion: v1
    kind: ConfigMap
    metadata: {name: listed}
    data: {shared: bad, only-bad: "1"}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web, only-bad: "1"}
  ports: [{name: http, port: 80, targetPort: 9090}, {name: extra, port: 81, targetPort: 9091}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web, version: bad, only-bad: "1"}}
    spec:
      nodeSelector: {nowhere: "true"}
      containers:
        - {name: web, image: "web:bad", env: [{name: A, value: bad}, {name: ONLY_BAD, value: "1"}]}
        - {name: only-bad, image: "sidecar:bad"}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: only-bad}
spec:
  replicas: 0
  selector: {matchLabels: {app: only-bad}}
  template:
    metadata: {labels: {app: only-bad}}
    spec: {containers: [{name: web, image: "web:bad"}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web, annotations: {nginx.ingress.kubernetes.io/canary: "true", nginx.ingress.kubernetes.io/canary-weight: "50", only-bad: "1"}}
spec: {defaultBackend: {service: {name: web, port: {number: 81}}}}
---
apiVersion: shop.example/v1
kind: Widget
metadata: {name: both}
spec: {shared: bad, only-bad: 1, rules: [{weight: 50}]}
---
apiVersion: shop.example/v1
kind: Widget
metadata: {name: only-bad}
spec: {shared: bad}
`
)

// TestHelm runs all tests that need an API server in one sandbox.
func TestHelm(t *testing.T) {
	c := openCluster(t)
	c.define(t, "shop.example", "v1", "Widget")
	t.Run("the live objects are those of the target, wherever a rollback is interrupted", c.interrupted)
	t.Run("an autoscaled workload keeps its replicas", c.autoscaled)
	t.Run("dangers", c.dangers)
	t.Run("owners", c.owners)
	t.Run("a kind that is not served stops nothing", c.notServed)
}

// interrupted interrupts a rollback after k writes, for every k, and a second attempt
// after the number of writes that the first one had left. The third attempt finishes it,
// and then the helm program upgrades to the bad revision again.
func (c *cluster) interrupted(t *testing.T) {
	const namespace = "interrupted"
	var writes budget
	writes.set(plenty)
	helmClient := c.helmClient(t, writes.fence, "")
	c.upgrade(t, namespace, good)
	c.upgrade(t, namespace, bad)
	p := plan(t, helmClient, namespace, 1)
	writes.set(plenty)
	made, err := helmClient.RollBack(t.Context(), p)
	if err != nil || made != 3 {
		t.Fatalf("without an interruption: got revision %d, %v; want 3", made, err)
	}
	total := writes.checked.Load()
	c.verify(t, namespace, good, bad)
	c.checkSettled(t, helmClient, namespace, p.Suspect.UID)
	c.upgrade(t, namespace, bad)
	c.verify(t, namespace, bad, good)

	for k := range total {
		p := plan(t, helmClient, namespace, made)
		c.attempt(t, helmClient, &writes, &p, k)
		if k%5 == 0 {
			// A user can go on with Helm from every half-finished rollback.
			c.upgrade(t, namespace, bad)
			if newest := historyOf(t, helmClient, namespace).Newest(); newest.Status != rollback.StatusDeployed {
				t.Errorf("helm upgrade must work after an interruption: got %+v", newest)
			}
			p = plan(t, helmClient, namespace, made)
			c.attempt(t, helmClient, &writes, &p, k)
		}
		c.attempt(t, helmClient, &writes, &p, total-k-1)
		if made = p.Newest.Number; p.Newest.Status != rollback.StatusDeployed {
			if made, err = helmClient.RollBack(t.Context(), p); err != nil {
				t.Fatalf("after an interruption at write %d, the next attempt must finish the rollback: %v", k, err)
			}
		}
		c.verify(t, namespace, good, bad)
		c.checkSettled(t, helmClient, namespace, p.Suspect.UID)
		c.upgrade(t, namespace, bad)
		c.verify(t, namespace, bad, good)
		if t.Failed() {
			t.Fatalf("the interruption was after %d of %d writes", k, total)
		}
	}
	t.Logf("interrupted after each of %d writes", total)
}

// attempt allows a rollback a number of writes, recovers the revision that it leaves
// pending, and plans the next attempt.
func (c *cluster) attempt(t *testing.T, helmClient *helm.Client, writes *budget, p *rollback.Plan, allowed int64) {
	t.Helper()
	if p.Newest.Number > p.Suspect.Number && p.Newest.Status == rollback.StatusDeployed {
		return // an earlier attempt has finished the rollback
	}
	writes.set(allowed)
	_, err := helmClient.RollBack(t.Context(), *p)
	writes.set(plenty)
	if err != nil {
		p.Newest = c.recovered(t, helmClient, p.Key.Namespace, p.Suspect.UID)
		return
	}
	p.Newest = historyOf(t, helmClient, p.Key.Namespace).Newest()
}

// recovered recovers the revision that an attempt left pending, and returns the newest
// revision.
func (c *cluster) recovered(t *testing.T, helmClient *helm.Client, namespace, claim string) rollback.Revision {
	t.Helper()
	newest := historyOf(t, helmClient, namespace).Newest()
	if newest.Status.Pending() {
		if newest.Claim != claim {
			t.Fatalf("a revision that backout made must have its claim: got %q, want %q", newest.Claim, claim)
		}
		if err := helmClient.Recover(t.Context(), rollback.Key{Namespace: namespace, Release: release}, newest); err != nil {
			t.Fatal(err)
		}
		if err := helmClient.Recover(t.Context(), rollback.Key{Namespace: namespace, Release: release}, newest); !errors.Is(err, rollback.ErrRevisionChanged) {
			t.Errorf("a revision that is not pending is not recovered: got %v", err)
		}
		newest = historyOf(t, helmClient, namespace).Newest()
	}
	if newest.Claim != "" && (newest.Status != rollback.StatusFailed || !strings.Contains(newest.Description, "failed") || newest.Claim != claim) {
		t.Errorf("an interrupted attempt must be marked as failed, and keep backout's claim: got %+v", newest)
	}
	return newest
}

// checkSettled checks that only the newest revision is deployed, with backout's claim, and
// that none is pending.
func (c *cluster) checkSettled(t *testing.T, helmClient *helm.Client, namespace, claim string) {
	t.Helper()
	for i, r := range historyOf(t, helmClient, namespace) {
		if (r.Status == rollback.StatusDeployed) != (i == 0) || r.Status.Pending() {
			t.Errorf("revision %d is %s", r.Number, r.Status)
		}
		if i == 0 && r.Claim != claim {
			t.Errorf("revision %d has the claim %q, want %q", r.Number, r.Claim, claim)
		}
	}
}

// autoscaled has a case for each way to declare replicas and to have an autoscaler: in the
// suspect revision, in the target, in both, in neither.
func (c *cluster) autoscaled(t *testing.T) {
	const namespace = "autoscaled"
	workload := func(name, replicas, version string) string {
		return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  %[2]s
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec: {nodeSelector: {nowhere: "true"}, containers: [{name: web, image: "web:%[3]s"}]}
---
`, name, replicas, version)
	}
	scaler := func(name string, scaled bool) string {
		if !scaled {
			return ""
		}
		return fmt.Sprintf(`apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: %[1]s}
spec: {minReplicas: 1, maxReplicas: 10, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: %[1]s}}
---
`, name)
	}
	type side struct {
		replicas string
		scaled   bool
	}
	cases := map[string]struct {
		was, will side
		// gone says that an earlier attempt has already deleted the autoscaler.
		gone bool
		want int32
	}{
		"both":         {was: side{"replicas: 2", true}, will: side{"replicas: 3", true}, want: 9},
		"target":       {was: side{"", true}, will: side{"replicas: 3", true}, want: 9},
		"suspect":      {was: side{"replicas: 2", true}, will: side{"", true}, want: 9},
		"none":         {was: side{"", true}, will: side{"", true}, want: 9},
		"manually":     {was: side{"replicas: 2", false}, will: side{"replicas: 3", false}, want: 9},
		"switched-off": {was: side{"replicas: 9", false}, will: side{"", true}, want: 9},
		"switched-on":  {was: side{"", true}, will: side{"replicas: 2", false}, want: 9},
		"interrupted":  {was: side{"", true}, will: side{"replicas: 2", false}, gone: true, want: 9},
		"undeclared":   {was: side{"replicas: 9", false}, will: side{"", false}, want: 9},
	}
	var was, will strings.Builder
	for name, r := range cases {
		was.WriteString(workload(name, r.was.replicas, "bad") + scaler(name, r.was.scaled))
		will.WriteString(workload(name, r.will.replicas, "good") + scaler(name, r.will.scaled))
	}
	c.upgrade(t, namespace, strings.TrimSuffix(will.String(), "---\n"))
	c.upgrade(t, namespace, strings.TrimSuffix(was.String(), "---\n"))
	deployments := c.client.AppsV1().Deployments(namespace)
	for name, r := range cases {
		if _, err := deployments.Patch(t.Context(), name, types.MergePatchType, []byte(`{"spec":{"replicas":9}}`), metav1.PatchOptions{}); err != nil {
			t.Fatal(err)
		}
		if r.gone {
			if err := c.client.AutoscalingV2().HorizontalPodAutoscalers(namespace).Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	helmClient := c.helmClient(t, nil, "")
	if _, err := helmClient.RollBack(t.Context(), plan(t, helmClient, namespace, 1)); err != nil {
		t.Fatal(err)
	}
	for name, r := range cases {
		d, err := deployments.Get(t.Context(), name, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if *d.Spec.Replicas != r.want || d.Spec.Template.Spec.Containers[0].Image != "web:good" {
			t.Errorf("%s: got %d replicas, want %d: a rollback lowers none", name, *d.Spec.Replicas, r.want)
		}
	}
}
