package helm_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/release"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/upcommerce/backout/rollback"
)

const (
	policy = "---\napiVersion: shop.example/v1\nkind: Scaler\nmetadata: {name: extra, labels: {helm.sh/chart: web-%s}}\nspec: {rules: [%s]}\n"
	kept   = "---\napiVersion: shop.example/v1\nkind: Scaler\nmetadata: {name: extra, annotations: {helm.sh/resource-policy: keep}}\n"
)

// document fills in a document of a manifest.
func document(format string, values ...string) string {
	for _, v := range values {
		format = strings.Replace(format, "%s", v, 1)
	}
	return format
}

// TestAKindThatMayNotBeReadStopsNothing: objects that both revisions declare the same are
// not visited, so backout needs no right to them.
func TestAKindThatMayNotBeReadStopsNothing(t *testing.T) {
	for what, c := range map[string]struct{ suspect, target string }{
		"the very same":           {document(policy, "1", "1, 2"), document(policy, "1", "1, 2")},
		"with another chart":      {document(policy, "1.5.0", "1, 2"), document(policy, "1.4.0", "1, 2")},
		"one that Helm keeps":     {kept, ""},
		"with other weights":      {document(policy, "1", "{name: a, weight: 5}"), document(policy, "1", "{name: a, weight: 7}")},
		"with another chart also": {document(policy, "1.5.0", "{name: a, weight: 5}"), document(policy, "1.4.0", "{name: a, weight: 7}")},
	} {
		for _, forbidden := range []string{http.MethodGet, http.MethodPatch} {
			t.Run(what+", "+forbidden, func(t *testing.T) {
				cl := newCluster(t)
				cl.both(t, c.suspect, c.target)
				cl.live(t, c.suspect)
				cl.forbid(forbidden, "scalers/extra")
				result := cl.preflight(t, 4)
				expectDanger(t, result, "")
				weights := strings.Contains(what, "weights") || strings.Contains(what, "also")
				if got := strings.Join(result.Differences, "\n"); weights != strings.Contains(got, "Scaler extra keeps its live weights") || !weights && got != "" {
					t.Errorf("the result names the weights that stay: got %q", got)
				}
				if _, err := cl.RollBack(t.Context(), cl.plan(t, 4)); err != nil {
					t.Fatal(err)
				}
				if version(cl.objects["deployments/web-canary"]) != "v2" {
					t.Error("the release is rolled back")
				}
			})
		}
	}
}

// forbid answers as the API server without a right.
func (c *cluster) forbid(method, object string) {
	c.before = func(m, o string) int {
		if o == object && (m == method || method == http.MethodGet && m != http.MethodPost) {
			return http.StatusForbidden
		}
		return 0
	}
}

// TestAMissingRightIsADanger: where more than weights differ, the danger says which right
// to add.
func TestAMissingRightIsADanger(t *testing.T) {
	for what, c := range map[string]struct {
		suspect, target, method, object, resource, right string
	}{
		"it may not be read":    {document(policy, "1", "1"), document(policy, "1", "2"), http.MethodGet, "scalers/extra", `apiGroups: ["shop.example"], resources: [scalers]`, "verbs: [get, patch]"},
		"it may not be written": {document(policy, "1", "1"), document(policy, "1", "2"), http.MethodPatch, "scalers/extra", `apiGroups: ["shop.example"], resources: [scalers]`, "verbs: [get, patch]"},
		"it may not be deleted": {configMap("name: extra", "x"), "", http.MethodDelete, "configmaps/extra", `apiGroups: [""], resources: [configmaps]`, "verbs: [get, delete]"},
	} {
		t.Run(what, func(t *testing.T) {
			cl := newCluster(t)
			cl.both(t, c.suspect, c.target)
			cl.live(t, c.suspect)
			cl.forbid(c.method, c.object)
			expectDanger(t, cl.preflight(t, 4), rollback.DangerForbidden, " extra", "namespace shop", c.resource, c.right)
		})
	}
}

// TestAWebhookThatRefusesTheWeight stops a rollback no more than a missing right does.
func TestAWebhookThatRefusesTheWeight(t *testing.T) {
	c := newCluster(t)
	c.revision(t, 4, release.StatusSuperseded, manifest("v2", "30"))
	c.revision(t, 5, release.StatusDeployed, manifest("v3", "20"))
	c.live(t, manifest("v3", "20"))
	c.refuse = func(method, object string) metav1.Status {
		if method+" "+object == "PATCH ingresses/web-canary" {
			return metav1.Status{Code: http.StatusBadRequest, Reason: metav1.StatusReasonBadRequest, Message: "admission webhook denied it"}
		}
		return metav1.Status{}
	}
	result := c.preflight(t, 4)
	expectDanger(t, result, "")
	if got := strings.Join(result.Differences, "\n"); !strings.Contains(got, "Ingress web-canary keeps its live weights") || !strings.Contains(got, "webhook denied") {
		t.Errorf("the result names the weight that stays, and why: got %q", got)
	}
	if _, err := c.RollBack(t.Context(), c.plan(t, 4)); err != nil {
		t.Fatal(err)
	}
	if got := c.object(t, "ingresses/web-canary").GetAnnotations()[canaryWeight]; got != "20" || version(c.objects["deployments/web-canary"]) != "v2" {
		t.Errorf("the release is rolled back, and the live weight stays: got %s", got)
	}
}

// TestAWebhookWithoutDryRuns refuses no weight: Helm writes it.
func TestAWebhookWithoutDryRuns(t *testing.T) {
	c := newCluster(t)
	c.revision(t, 4, release.StatusSuperseded, manifest("v2", "30"))
	c.revision(t, 5, release.StatusDeployed, manifest("v3", "20"))
	c.live(t, manifest("v3", "20"))
	plan := c.plan(t, 4)
	c.resetCounts()
	c.refuse = func(method, object string) metav1.Status {
		if method+" "+object == "PATCH ingresses/web-canary" && !slices.Contains(c.writes, method+" "+object) {
			return metav1.Status{Code: http.StatusBadRequest, Reason: metav1.StatusReasonBadRequest, Message: "admission webhook x does not support dry run"}
		}
		return metav1.Status{}
	}
	result, err := c.Preflight(t.Context(), plan)
	if err != nil || len(result.Dangers)+len(result.Differences) != 0 {
		t.Errorf("the change itself may be accepted: got %q, %q, %v", result.Dangers, result.Differences, err)
	}
	if _, err := c.RollBack(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	if got := c.object(t, "ingresses/web-canary").GetAnnotations()[canaryWeight]; got != "0" {
		t.Errorf("the weight is written as it is held: got %s", got)
	}
}

// TestWhatAFailedUpgradeDeclaresTheSameIsNotVisited: it left nothing to repair.
func TestWhatAFailedUpgradeDeclaresTheSameIsNotVisited(t *testing.T) {
	same := document(policy, "1", "1")
	for what, failed := range map[string]string{"the same": same, "another": document(policy, "1", "2")} {
		t.Run(what, func(t *testing.T) {
			c := newCluster(t)
			c.revision(t, 4, release.StatusSuperseded, manifest("v2", "20")+same)
			c.revision(t, 5, release.StatusFailed, manifest("v3", "20")+failed)
			c.revision(t, 6, release.StatusDeployed, manifest("v3", "20")+same)
			c.live(t, same)
			plan := c.plan(t, 4)
			c.resetCounts()
			if _, err := c.RollBack(t.Context(), plan); err != nil {
				t.Fatal(err)
			}
			if visited := c.reads["scalers/extra"] > 0; visited != (failed != same) {
				t.Errorf("it is visited only if the failed upgrade may have left another one: read %d times", c.reads["scalers/extra"])
			}
		})
	}
}

// TestWhatStaysTheSameIsNotVisited: Helm neither reads nor writes it; a missing object is
// created.
func TestWhatStaysTheSameIsNotVisited(t *testing.T) {
	for what, live := range map[string]string{"it exists": document(policy, "1", "1"), "it is missing": ""} {
		t.Run(what, func(t *testing.T) {
			c := newCluster(t)
			same := document(policy, "1", "1")
			c.both(t, same, same)
			c.live(t, live)
			c.resetCounts()
			if _, err := c.RollBack(t.Context(), c.plan(t, 4)); err != nil {
				t.Fatal(err)
			}
			written := slices.ContainsFunc(c.writes, func(w string) bool { return strings.HasPrefix(w, "POST scalers") })
			if written != (live == "") || live != "" && c.reads["scalers/extra"] != 0 {
				t.Errorf("it is created if it is missing, and else left alone: %d reads, wrote %v", c.reads["scalers/extra"], c.writes)
			}
		})
	}
}
