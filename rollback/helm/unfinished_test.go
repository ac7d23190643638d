package helm_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/release"

	"github.com/upcommerce/backout/rollback"
)

// claimOnly is a claim that only the failed upgrade declares.
const claimOnly = "---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: extra}\n"

// planUnder is a rollback of revision 3, which runs under the failed upgrade 4, to target.
func (c *cluster) planUnder(t *testing.T, target int) rollback.Plan {
	t.Helper()
	plan := c.plan(t, target)
	history, err := c.History(t.Context(), web(), rollback.Stored)
	if err != nil {
		t.Fatal(err)
	}
	plan.Suspect, _ = history.Named(3)
	plan.Failed = history[:1]
	return plan
}

func TestRollBackOfWhatRunsUnderAFailedUpgrade(t *testing.T) {
	c := newCluster(t)
	c.revision(t, 4, release.StatusFailed, manifest("v4", "20")+claimOnly)
	c.live(t, claimOnly)
	made, err := c.RollBack(t.Context(), c.planUnder(t, 2))
	if err != nil || made != 5 {
		t.Fatalf("Helm makes the revision after the failed one: got %d, %v", made, err)
	}
	for number, want := range map[int]release.Status{3: release.StatusSuperseded, 4: release.StatusFailed, 5: release.StatusDeployed} {
		if got, err := c.store.Get(secretName(number)); err != nil || got.Info.Status != want {
			t.Errorf("revision %d is %v, %v; want %s", number, got.Info.Status, err, want)
		}
	}
	if _, left := c.objects["persistentvolumeclaims/extra"]; left {
		t.Error("an object that only the failed upgrade declares is deleted")
	}
}

func TestPreflightOfWhatRunsUnderAFailedUpgrade(t *testing.T) {
	c := newCluster(t)
	c.revision(t, 4, release.StatusFailed, manifest("v4", "20")+claimOnly)
	c.live(t, claimOnly)
	result, err := c.Preflight(t.Context(), c.planUnder(t, 2))
	if err != nil {
		t.Fatal(err)
	}
	expectDanger(t, result, rollback.DangerPVC, "extra")
}

// Objects that failed upgrades declare are bounded in sum: a client that writes Secrets can make any
// number of them.
func TestTooMuchFailedAboveTheSuspect(t *testing.T) {
	for what, c := range map[string]struct {
		failed, nodes int
		words         []string
	}{
		"too many revisions": {4, 30, []string{"4 failed revisions above revision 3", "more than backout reads"}},
		"too large in sum":   {3, 30_000, []string{"revision 3", "too large"}},
	} {
		t.Run(what, func(t *testing.T) {
			cl := newCluster(t)
			for i := range c.failed {
				cl.revision(t, 4+i, release.StatusFailed, manifest("v4", "20")+strings.ReplaceAll(manyNodes(1, c.nodes, "1"), "big", fmt.Sprintf("big%d-", i)))
			}
			plan := cl.planUnder(t, 2)
			plan.Failed, _ = cl.History(t.Context(), web(), rollback.Stored)
			plan.Failed = plan.Failed[:c.failed]
			cl.resetCounts()
			result, err := cl.Preflight(t.Context(), plan)
			if err != nil {
				t.Fatal(err)
			}
			expectDanger(t, result, rollback.DangerUnbuildable, c.words...)
			if n := cl.reads["secrets/"+secretName(4)]; c.failed > 3 && n != 0 {
				t.Errorf("only the newest failed revisions are read: the oldest was read %d times", n)
			}
			if _, err := cl.RollBack(t.Context(), plan); err == nil || len(cl.writes) != 0 {
				t.Errorf("the rollback is refused by itself, too: got %v, wrote %v", err, cl.writes)
			}
		})
	}
}

// Only a failed revision may be newer than the suspect: an upgrade in progress writes objects.
func TestNoRollBackOverAnUpgradeOfAnotherClient(t *testing.T) {
	for _, status := range []release.Status{release.StatusPendingUpgrade, release.StatusDeployed} {
		c := newCluster(t)
		c.revision(t, 4, status, manifest("v4", "20"))
		if _, err := c.RollBack(t.Context(), c.planUnder(t, 2)); !errors.Is(err, rollback.ErrRevisionChanged) {
			t.Errorf("revision 4 is %s: got %v, want %v", status, err, rollback.ErrRevisionChanged)
		}
	}
}

func TestTheHooksOfAFailedUpgradeAreDangers(t *testing.T) {
	c := newCluster(t)
	err := c.store.Create(secretName(4), &release.Release{
		Name: "web", Namespace: "shop", Version: 4, Manifest: manifest("v4", "20"),
		Chart: &chart.Chart{Metadata: &chart.Metadata{Name: "web-chart"}},
		Info:  &release.Info{Status: release.StatusFailed, Description: `Upgrade "web" failed: pre-upgrade hooks failed: timed out`},
		Hooks: []*release.Hook{{Name: "migrate", Events: []release.HookEvent{release.HookPreUpgrade}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	result, err := c.Preflight(t.Context(), c.planUnder(t, 2))
	if err != nil {
		t.Fatal(err)
	}
	expectDanger(t, result, rollback.DangerHook, "revision 4 ran migrate")
}
