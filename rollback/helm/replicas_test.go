package helm_test

import (
	"net/http"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

const autoscaler = "---\napiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {name: a}\nspec: {maxReplicas: 10, scaleTargetRef: {kind: Deployment, name: web-canary}}\n"

// replicas returns the live number of the canary's pods; 1 if there is none, as
// the real API server would have it.
func (c *cluster) replicas(t *testing.T) int64 {
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

// numbered is a revision that declares a number of replicas, "" for none.
func numbered(version, number string) string {
	field := "  replicas: " + number + "\n"
	if number == "" {
		field = ""
	}
	return strings.Replace(manifest(version, "20"), "  replicas: 2\n", field, 1)
}

// TestReplicasWithoutLiveAutoscaler: none is live, but one has scaled the canary or
// is going to, or nobody declares a number to go back to.
func TestReplicasWithoutLiveAutoscaler(t *testing.T) {
	const scaledObject = "---\napiVersion: shop.example/v1\nkind: Scaler\nmetadata: {name: s}\nspec: {scaleTargetRef: {name: web-canary}}\n"
	const other = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: other}\n"
	for what, c := range map[string]struct {
		was, will string
		live      string
		want      int64
	}{
		"the target leaves the number to its autoscaler":  {numbered("v3", "9"), numbered("v2", "") + autoscaler, "9", 9},
		"the target declares a number and an autoscaler":  {numbered("v3", "9"), numbered("v2", "2") + autoscaler, "9", 9},
		"the target leaves the number to nobody we know":  {numbered("v3", "9"), numbered("v2", ""), "9", 9},
		"the accused revision's autoscaler is gone":       {numbered("v3", "") + autoscaler, numbered("v2", "2"), "9", 9},
		"the autoscaler goes, the target has more pods":   {numbered("v3", "") + autoscaler, numbered("v2", "12"), "9", 12},
		"the autoscaler stays, the target declares more":  {numbered("v3", "") + autoscaler, numbered("v2", "12") + autoscaler, "9", 9},
		"an autoscaler that is no HPA, and names no kind": {numbered("v3", "") + scaledObject, numbered("v2", "2"), "9", 9},
		"the accused revision did not have the workload":  {other, numbered("v2", ""), "9", 9},
		"the accused revision switched the workload off":  {numbered("v3", "0"), numbered("v2", "") + autoscaler, "0", 1},
		"an autoscaler of something else":                 {numbered("v3", "9"), numbered("v2", "2") + strings.Replace(autoscaler, "web-canary", "web", 1), "9", 2},
		"nobody scales: the target's number stands":       {numbered("v3", "9"), numbered("v2", "2"), "9", 2},
	} {
		t.Run(what, func(t *testing.T) {
			cluster := newCluster(t)
			cluster.revision(t, 4, release.StatusSuperseded, c.will)
			cluster.revision(t, 5, release.StatusDeployed, c.was)
			cluster.live(t, numbered("v3", c.live))
			plan := cluster.plan(t, 4)
			cluster.forget()
			if _, err := cluster.Check(t.Context(), plan); err != nil {
				t.Fatal(err)
			}
			if _, err := cluster.RollBack(t.Context(), plan); err != nil {
				t.Fatal(err)
			}
			if got := cluster.replicas(t); got != c.want {
				t.Errorf("%s: want %d replicas, got %d", what, c.want, got)
			}
			for i, trial := range cluster.trials {
				if null := strings.Contains(cluster.trialBodies[i], `"replicas":null`); null && c.want != 1 {
					t.Errorf("what is tried out keeps the number, too: %s %s", trial, cluster.trialBodies[i])
				}
			}
		})
	}
}

// TestReplicasStayThroughAnInterruption: the first attempt deletes the autoscaler
// of the accused revision and ends there; the second finds none.
func TestReplicasStayThroughAnInterruption(t *testing.T) {
	c := newCluster(t)
	c.revision(t, 4, release.StatusSuperseded, numbered("v2", "2"))
	c.revision(t, 5, release.StatusDeployed, numbered("v3", "")+autoscaler)
	c.live(t, numbered("v3", "9")+autoscaler)
	plan := c.plan(t, 4)
	c.before = func(method, object string) int {
		if method+" "+object == "PUT secrets/"+secret(6) {
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
	history, err := c.History(t.Context(), web())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Recover(t.Context(), web(), history.Accused()); err != nil {
		t.Fatal(err)
	}
	plan.Newest = c.plan(t, 4).Newest
	if _, err := c.RollBack(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	if got := c.replicas(t); got != 9 {
		t.Errorf("what was scaled up stays so, however often the rollback begins: want 9 replicas, got %d", got)
	}
}
