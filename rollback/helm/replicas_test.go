package helm_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/upcommerce/backout/rollback"
)

const autoscaler = "---\napiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: a}\nspec: {maxReplicas: 10, scaleTargetRef: {kind: Deployment, name: web-canary}}\n"

// liveReplicas returns the live number of the canary's replicas; 1 without a
// number, as on a real API server.
func (c *cluster) liveReplicas(t *testing.T) int64 {
	t.Helper()
	got, ok, _ := unstructured.NestedFieldNoCopy(c.object(t, "deployments/web-canary").Object, "spec", "replicas")
	if !ok {
		return 1
	}
	if n, whole := got.(int64); whole {
		return n
	}
	return int64(got.(float64))
}

// withReplicas is a manifest that declares a number of replicas, "" for none.
func withReplicas(version, number string) string {
	field := "  replicas: " + number + "\n"
	if number == "" {
		field = ""
	}
	return strings.Replace(manifest(version, "20"), "  replicas: 2\n", field, 1)
}

// TestReplicasWithoutLiveAutoscaler: no autoscaler is live. A number that runs is never
// lowered, whatever raised it.
func TestReplicasWithoutLiveAutoscaler(t *testing.T) {
	const scaledObject = "---\napiVersion: shop.example/v1\nkind: Scaler\nmetadata: {name: s}\nspec: {scaleTargetRef: {name: web-canary}}\n"
	const other = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\n"
	for what, c := range map[string]struct {
		suspect, target string
		live            string
		want            int64
	}{
		"the target leaves the number to its autoscaler":   {withReplicas("v3", "9"), withReplicas("v2", "") + autoscaler, "9", 9},
		"the target declares a number and an autoscaler":   {withReplicas("v3", "9"), withReplicas("v2", "2") + autoscaler, "9", 9},
		"the target leaves the number open":                {withReplicas("v3", "9"), withReplicas("v2", ""), "9", 9},
		"the suspect revision's autoscaler is gone":        {withReplicas("v3", "") + autoscaler, withReplicas("v2", "2"), "9", 9},
		"the autoscaler goes, the target has more pods":    {withReplicas("v3", "") + autoscaler, withReplicas("v2", "12"), "9", 12},
		"the autoscaler stays, the target declares more":   {withReplicas("v3", "") + autoscaler, withReplicas("v2", "12") + autoscaler, "9", 9},
		"an autoscaler of another kind than an HPA":        {withReplicas("v3", "") + scaledObject, withReplicas("v2", "2"), "9", 9},
		"the suspect revision does not have the workload":  {other, withReplicas("v2", ""), "9", 9},
		"the suspect revision scales the workload to zero": {withReplicas("v3", "0"), withReplicas("v2", "") + autoscaler, "0", 1},
		"no autoscaler: a number is not lowered":           {withReplicas("v3", "9"), withReplicas("v2", "2"), "9", 9},
		"an operator scaled up":                            {withReplicas("v3", "2"), withReplicas("v2", "2"), "9", 9},
		"an operator scaled up, to less than the target":   {withReplicas("v3", "2"), withReplicas("v2", "12"), "9", 12},
		"an operator scaled down":                          {withReplicas("v3", "9"), withReplicas("v2", "4"), "2", 4},
		"an autoscaler of something else":                  {withReplicas("v3", "9"), withReplicas("v2", "12") + strings.Replace(autoscaler, "web-canary", "web", 1), "9", 12},
	} {
		t.Run(what, func(t *testing.T) {
			cluster := newCluster(t)
			cluster.revision(t, 4, release.StatusSuperseded, c.target)
			cluster.revision(t, 5, release.StatusDeployed, c.suspect)
			cluster.live(t, withReplicas("v3", c.live))
			plan := cluster.plan(t, 4)
			cluster.resetCounts()
			if _, err := cluster.Preflight(t.Context(), plan); err != nil {
				t.Fatal(err)
			}
			if _, err := cluster.RollBack(t.Context(), plan); err != nil {
				t.Fatal(err)
			}
			if got := cluster.liveReplicas(t); got != c.want {
				t.Errorf("%s: want %d replicas, got %d", what, c.want, got)
			}
			for i, dryRun := range cluster.dryRuns {
				if null := strings.Contains(cluster.dryRunBodies[i], `"replicas":null`); null && c.want != 1 {
					t.Errorf("the dry run keeps the number too: %s %s", dryRun, cluster.dryRunBodies[i])
				}
			}
		})
	}
}

// TestReplicasStayThroughAnInterruption: the first attempt deletes the suspect revision's
// autoscaler and ends there; the second finds none.
func TestReplicasStayThroughAnInterruption(t *testing.T) {
	c := newCluster(t)
	c.revision(t, 4, release.StatusSuperseded, withReplicas("v2", "2"))
	c.revision(t, 5, release.StatusDeployed, withReplicas("v3", "")+autoscaler)
	c.live(t, withReplicas("v3", "9")+autoscaler)
	plan := c.plan(t, 4)
	c.before = func(method, object string) int {
		if method+" "+object == "PUT secrets/"+secretName(6) {
			return http.StatusInternalServerError
		}
		return 0
	}
	if _, err := c.RollBack(t.Context(), plan); err == nil {
		t.Fatal("the first attempt is interrupted")
	}
	if _, there := c.objects["horizontalpodautoscalers/a"]; there {
		t.Fatal("the first attempt deletes the autoscaler")
	}
	c.before = nil
	history, err := c.History(t.Context(), web(), rollback.Stored)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Recover(t.Context(), web(), history.Newest()); err != nil {
		t.Fatal(err)
	}
	plan.Newest = c.plan(t, 4).Newest
	if _, err := c.RollBack(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	if got := c.liveReplicas(t); got != 9 {
		t.Errorf("a workload that was scaled up stays so through two attempts: want 9 replicas, got %d", got)
	}
}

// TestReplicasStay: Helm does not write the number that an autoscaler set.
func TestReplicasStay(t *testing.T) {
	for what, c := range map[string]struct {
		scaled          string
		suspect, target string
		want            int64
	}{
		"autoscaled":                       {"web-canary", "replicas: 2", "replicas: 3", 9},
		"autoscaled, declared before":      {"web-canary", "replicas: 2", "minReadySeconds: 1", 9},
		"autoscaled, declared again":       {"web-canary", "minReadySeconds: 1", "replicas: 3", 9},
		"not autoscaled: a greater number": {"other", "replicas: 2", "replicas: 12", 12},
	} {
		t.Run(what, func(t *testing.T) {
			cluster := newCluster(t)
			cluster.revision(t, 4, release.StatusSuperseded, strings.Replace(manifest("v2", "20"), "replicas: 2", c.target, 1))
			cluster.revision(t, 5, release.StatusDeployed, strings.Replace(manifest("v3", "20"), "replicas: 2", c.suspect, 1))
			cluster.live(t, strings.Replace(manifest("v3", "0"), "replicas: 2", "replicas: 9", 1))
			cluster.live(t, "apiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: a}\nspec: {maxReplicas: 10, scaleTargetRef: {kind: Deployment, name: "+c.scaled+"}}\n")
			plan := cluster.plan(t, 4)
			cluster.resetCounts()
			// The autoscaler scales while Helm writes other objects.
			if c.want == 9 {
				cluster.beforeFirst(http.MethodPatch, "configmaps/web-canary", func() {
					_ = unstructured.SetNestedField(cluster.objects["deployments/web-canary"].Object, int64(10), "spec", "replicas")
				})
				c.want = 10
			}
			if _, err := cluster.RollBack(t.Context(), plan); err != nil {
				t.Fatal(err)
			}
			got, _, _ := unstructured.NestedFieldNoCopy(cluster.object(t, "deployments/web-canary").Object, "spec", "replicas")
			if n, _ := got.(int64); n != c.want {
				if f, _ := got.(float64); int64(f) != c.want {
					t.Errorf("want %d replicas, got %v", c.want, got)
				}
			}
		})
	}
}

// TestWhatAnOperatorScaledUpStays: the stable track, which both revisions declare the same.
func TestWhatAnOperatorScaledUpStays(t *testing.T) {
	const stable = "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec: {replicas: %s, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: w, image: 'web:v1'}]}}}\n"
	with := func(n string) string { return strings.Replace(stable, "%s", n, 1) }
	for what, target := range map[string]string{"declared the same": "4", "declared otherwise": "5", "declared with none": "0"} {
		t.Run(what, func(t *testing.T) {
			c := newCluster(t)
			c.revision(t, 4, release.StatusSuperseded, manifest("v2", "20")+with(target))
			c.revision(t, 5, release.StatusDeployed, manifest("v3", "20")+with("4"))
			c.live(t, manifest("v3", "0")+with("12")) // kubectl scale deployment web --replicas 12
			if _, err := c.RollBack(t.Context(), c.plan(t, 4)); err != nil {
				t.Fatal(err)
			}
			got, _, _ := unstructured.NestedFieldNoCopy(c.object(t, "deployments/web").Object, "spec", "replicas")
			if fmt.Sprint(got) != "12" {
				t.Errorf("the stable track keeps the 12 replicas that an operator gave it: got %v", got)
			}
		})
	}
}
