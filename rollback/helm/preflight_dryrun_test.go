package helm_test

import (
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/release"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/upcommerce/backout/rollback"
)

const scalerManifest = `---
apiVersion: shop.example/v1
kind: Scaler
metadata: {name: widget}
spec: {rules: [%s]}
`

// TestTheDryRunIsTheRollback: the dry run sends what the rollback sends later, object by
// object.
func TestTheDryRunIsTheRollback(t *testing.T) {
	scaler := func(rules string) string { return strings.Replace(scalerManifest, "%s", rules, 1) }
	const extra = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\n"
	const added = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: added}\ndata: {a: b%s}\n"
	suspect := manifest("v3", "20") + scaler("1, 2") + extra
	target := manifest("v2", "30") + scaler("3") + strings.Replace(added, "%s", "", 1)
	for what, c := range map[string]struct {
		// made is an object that an earlier attempt created and an operator changed.
		made   string
		writes int
	}{
		"at once":               {"", 6},
		"after an interruption": {strings.Replace(added, "%s", ", manual: c", 1), 6},
	} {
		t.Run(what, func(t *testing.T) {
			cluster := newCluster(t)
			cluster.revision(t, 4, release.StatusSuperseded, target)
			cluster.revision(t, 5, release.StatusDeployed, suspect)
			cluster.live(t, strings.Replace(suspect, `"20"`, `"0"`, 1)+c.made)
			plan := cluster.plan(t, 4)
			if c.made != "" {
				cluster.revision(t, 6, release.StatusFailed, target)
				cluster.objects["secrets/"+secretName(6)].SetAnnotations(map[string]string{claim: plan.Suspect.UID})
				plan.Newest = cluster.plan(t, 4).Newest
			}
			cluster.resetCounts()
			result, err := cluster.Preflight(t.Context(), plan)
			if err != nil {
				t.Fatal(err)
			}
			expectDanger(t, result, "")
			if len(cluster.writes) != 0 {
				t.Errorf("a preflight changes nothing: got %v", cluster.writes)
			}
			dryRuns, bodies := cluster.dryRuns, cluster.dryRunBodies
			if _, err := cluster.RollBack(t.Context(), plan); err != nil {
				t.Fatal(err)
			}
			cluster.dryRuns, cluster.dryRunBodies = dryRuns, bodies
			if cluster.fence.calls != len(cluster.writes) {
				t.Errorf("the fence is called before every write: %d times, before %v", cluster.fence.calls, cluster.writes)
			}
			cluster.compareDryRuns(t, c.writes, plan.Newest.Number+1)
		})
	}
}

// compareDryRuns compares the dry runs with the writes that followed.
func (c *cluster) compareDryRuns(t *testing.T, count, next int) {
	t.Helper()
	wrote := make(map[string]string)
	for i, write := range c.writes {
		if !strings.Contains(write, "secrets/") {
			wrote[write] = c.bodies[i]
		}
	}
	// That of the revision's Secret is about the right to create it.
	c.dryRuns, c.dryRunBodies = slices.Clone(c.dryRuns), slices.Clone(c.dryRunBodies)
	if i := slices.Index(c.dryRuns, "POST secrets/"+secretName(next)); i >= 0 {
		c.dryRuns, c.dryRunBodies = slices.Delete(c.dryRuns, i, i+1), slices.Delete(c.dryRunBodies, i, i+1)
	} else {
		t.Errorf("the creation of the revision's Secret is not dry-run: %v", c.dryRuns)
	}
	once := slices.Compact(slices.Sorted(slices.Values(c.dryRuns))) // a route whose weight alone differs is tried twice
	if len(once) != len(wrote) || len(wrote) != count {
		t.Errorf("every write is dry-run, and nothing else: dry runs %v, writes %v", c.dryRuns, c.writes)
	}
	for i, dryRun := range c.dryRuns {
		body, known := wrote[dryRun]
		if !known || !strings.HasPrefix(dryRun, "DELETE") && strings.TrimSpace(body) != strings.TrimSpace(c.dryRunBodies[i]) {
			t.Errorf("%s: dry-run\n%s, sent\n%s", dryRun, c.dryRunBodies[i], body)
		}
	}
}

// TestRefusals has the answers of an API server to a dry run.
func TestRefusals(t *testing.T) {
	for what, c := range map[string]struct {
		status  metav1.Status
		kind    rollback.DangerKind
		unknown bool
	}{
		"it is accepted":           {},
		"a field is immutable":     {status: metav1.Status{Code: 422, Reason: metav1.StatusReasonInvalid, Message: "field is immutable"}, kind: rollback.DangerImmutable},
		"a quota is exceeded":      {status: metav1.Status{Code: 403, Reason: metav1.StatusReasonForbidden, Message: "exceeded quota"}, kind: rollback.DangerUnbuildable},
		"a webhook denies it":      {status: metav1.Status{Code: 400, Reason: metav1.StatusReasonBadRequest, Message: "admission webhook denied it"}, kind: rollback.DangerUnbuildable},
		"a webhook has no dry run": {status: metav1.Status{Code: 400, Reason: metav1.StatusReasonBadRequest, Message: "admission webhook x does not support dry run"}},
		"a webhook is broken":      {status: metav1.Status{Code: 500, Reason: metav1.StatusReasonInternalError, Message: "failed calling webhook"}, unknown: true},
		"the token has expired":    {status: metav1.Status{Code: 401, Reason: metav1.StatusReasonUnauthorized}, unknown: true},
		"it is overloaded":         {status: metav1.Status{Code: 503, Reason: metav1.StatusReasonServiceUnavailable}, unknown: true},
	} {
		t.Run(what, func(t *testing.T) {
			cluster := newCluster(t)
			cluster.refuse = func(method, object string) metav1.Status {
				if method+" "+object == "PATCH deployments/web-canary" {
					return c.status
				}
				return metav1.Status{}
			}
			if c.unknown {
				if got, err := cluster.Preflight(t.Context(), cluster.plan(t, 2)); err == nil {
					t.Errorf("an API server that may answer something else later is an error: got %v", got)
				}
				return
			}
			expectDanger(t, cluster.preflight(t, 2), c.kind, "Deployment web-canary", c.status.Message)
		})
	}
}
