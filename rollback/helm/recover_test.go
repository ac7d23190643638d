package helm_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/release"

	"github.com/upcommerce/backout/rollback"
)

// leavePending leaves revision 4 behind, as a rollback that dies does.
func leavePending(t *testing.T, c *cluster) rollback.Revision {
	t.Helper()
	c.revision(t, 4, release.StatusPendingRollback, manifest("v2", "20"))
	o := c.objects["secrets/"+secretName(4)].DeepCopy()
	o.SetAnnotations(map[string]string{claim: "uid-3"})
	c.put("secrets/"+secretName(4), o)
	history, err := c.History(t.Context(), web(), rollback.Stored)
	if err != nil {
		t.Fatal(err)
	}
	c.resetCounts()
	return history.Newest()
}

func TestRecover(t *testing.T) {
	c := newCluster(t)
	left := leavePending(t, c)
	if err := c.Recover(t.Context(), web(), left); err != nil {
		t.Fatal(err)
	}
	stored, err := c.store.Get(secretName(4))
	if err != nil || stored.Info.Status != release.StatusFailed || !strings.Contains(stored.Info.Description, "failed") {
		t.Errorf("the revision is failed, and its description says so: got %v, %v", stored.Info, err)
	}
	if got := c.object(t, "secrets/"+secretName(4)); got.GetLabels()["status"] != "failed" || got.GetAnnotations()[claim] != "uid-3" || got.GetUID() != "" && string(got.GetUID()) != left.UID {
		t.Errorf("its label says so too, and it keeps the claim: got %v, %v", got.GetLabels(), got.GetAnnotations())
	}
	if !slices.Equal(c.writes, []string{"PUT secrets/" + secretName(4)}) {
		t.Errorf("nothing else is written: got %v", c.writes)
	}
	if !strings.Contains(c.bodies[0], `"resourceVersion"`) {
		t.Error("it is written only if it is unchanged since it was read")
	}
}

func TestRecoverOnlyWhatBackoutLeftBehind(t *testing.T) {
	for what, spoil := range map[string]func(*cluster, *rollback.Revision){
		"it is gone":                    func(c *cluster, _ *rollback.Revision) { delete(c.objects, "secrets/"+secretName(4)) },
		"it was deployed":               func(c *cluster, _ *rollback.Revision) { c.label(4, "status", "deployed") },
		"it was recovered already":      func(c *cluster, _ *rollback.Revision) { c.label(4, "status", "failed") },
		"it is another number":          func(c *cluster, _ *rollback.Revision) { c.label(4, "version", "5") },
		"it is of another installation": func(_ *cluster, r *rollback.Revision) { r.UID = "uid-of-another-installation" },
		"it never had a claim":          func(c *cluster, r *rollback.Revision) { c.overwrite(4); r.Claim = "" },
		"another client replaced it":    func(c *cluster, _ *rollback.Revision) { c.overwrite(4) },
		"it has another claim":          func(_ *cluster, r *rollback.Revision) { r.Claim = "uid-2" },
		"another client writes it at this moment": func(c *cluster, _ *rollback.Revision) {
			c.beforeFirst(http.MethodPut, "secrets/"+secretName(4), func() { c.overwrite(4) })
		},
	} {
		t.Run(what, func(t *testing.T) {
			c := newCluster(t)
			left := leavePending(t, c)
			spoil(c, &left)
			if err := c.Recover(t.Context(), web(), left); !errors.Is(err, rollback.ErrRevisionChanged) {
				t.Errorf("it is not the revision that was left behind: got %v", err)
			}
			for _, o := range c.objects {
				if o.GetLabels()["status"] == "failed" && what != "it was recovered already" {
					t.Errorf("nothing is written then: got %s", o.GetName())
				}
			}
		})
	}
}
