package helm_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/release"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestAKindThatIsNotAnswered: the API server answers that it cannot serve a kind, as while a
// webhook that converts it is down. That stops a rollback only if it has to write such an
// object.
func TestAKindThatIsNotAnswered(t *testing.T) {
	same, other := document(policy, "1", "1"), document(policy, "1", "2")
	for what, c := range map[string]struct {
		suspect, failed, target string
		code                    int
		stops                   bool
	}{
		"both revisions declare the same":         {same, same, same, http.StatusServiceUnavailable, false},
		"the same, and another error":             {same, same, same, http.StatusInternalServerError, false},
		"they declare others":                     {same, same, other, http.StatusServiceUnavailable, true},
		"the target alone declares it":            {"", "", same, http.StatusServiceUnavailable, true},
		"the suspect alone declares it":           {same, "", "", http.StatusServiceUnavailable, true},
		"a failed upgrade declares another":       {same, other, same, http.StatusServiceUnavailable, true},
		"backout's token has expired, for a kind": {same, same, same, http.StatusUnauthorized, true},
	} {
		t.Run(what, func(t *testing.T) {
			cl := newCluster(t)
			cl.revision(t, 4, release.StatusSuperseded, manifest("v2", "20")+c.target)
			cl.revision(t, 5, release.StatusFailed, manifest("v3", "20")+c.failed)
			cl.revision(t, 6, release.StatusDeployed, manifest("v3", "20")+c.suspect)
			cl.live(t, c.suspect)
			plan := cl.plan(t, 4)
			cl.before = func(_, object string) int {
				if object == "scalers/extra" {
					return c.code
				}
				return 0
			}
			cl.resetCounts()
			result, err := cl.Preflight(t.Context(), plan)
			noted := slices.ContainsFunc(result.Differences, func(d string) bool { return strings.HasPrefix(d, "Scaler extra could not be read") })
			if (err != nil) != c.stops || noted == c.stops || len(result.Dangers) > 0 {
				t.Errorf("the object stops the preflight: want %v, got %v, %q, %q", c.stops, err, result.Dangers, result.Differences)
			}
			_, err = cl.RollBack(t.Context(), plan)
			if (err != nil) != c.stops || c.stops != (len(cl.writes) == 0) {
				t.Errorf("the object stops the rollback: want %v, got %v, wrote %v", c.stops, err, cl.writes)
			}
		})
	}
}

// TestAComparisonThatFails is no reason to fail the preflight: it is for information only.
func TestAComparisonThatFails(t *testing.T) {
	const web, bad = "{name: web, image: 'web:v1'}", "{name: web, image: 'web:v3', env: [{name: A, value: a}]}"
	cl := newCluster(t)
	cl.both(t, pods("web", bad, ""), pods("web", web, ""))
	cl.live(t, pods("web", bad+", {name: manual, image: x}", ""))
	patches := 0
	cl.refuse = func(method, object string) metav1.Status {
		if method+" "+object != "PATCH deployments/web" {
			return metav1.Status{}
		}
		if patches++; patches == 1 {
			return metav1.Status{}
		}
		return metav1.Status{Code: http.StatusServiceUnavailable, Reason: metav1.StatusReasonServiceUnavailable, Message: "overloaded"}
	}
	result, err := cl.Preflight(t.Context(), cl.plan(t, 4))
	if err != nil || patches < 2 || len(result.Differences) != 1 || !strings.Contains(result.Differences[0], "Deployment web could not be compared with revision 4: overloaded") {
		t.Errorf("the result says what could not be compared: got %q, %v after %d patches", result.Differences, err, patches)
	}
}
