package helm_test

import (
	"errors"
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
