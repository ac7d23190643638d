package engine_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

// underAnUpgrade has v3 as revision 2, deployed, under an upgrade to v4 with that status and
// description.
func underAnUpgrade(status rollback.Status, description string) func(*cluster) {
	return func(c *cluster) {
		c.upgrade("v4", description)
		c.newest().Status = status
		below := &c.history[keyOf(alert("rollback"))][1]
		below.Status = rollback.StatusDeployed
		// No alert looks back that far.
		c.newest().Deployed, below.Deployed = time.Now().Add(-8*time.Minute), time.Now().Add(-9*time.Minute)
	}
}

const (
	timedOut    = `Upgrade "canary-demo" failed: timed out waiting for the condition`
	hooksFailed = `Upgrade "canary-demo" failed: pre-upgrade hooks failed: job failed: BackoffLimitExceeded`
)

func TestTheLiveRevisionUnderAFailedUpgradeIsRolledBack(t *testing.T) {
	for name, c := range map[string]struct {
		description, version string
	}{
		"the alert names it":   {timedOut, "v3"},
		"Helm changed nothing": {hooksFailed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, cl *cluster, e *engine.Engine) {
				deliver(t, e, alertAbout(c.version))
				wait(time.Minute)
				r := cl.shopRecord(2)
				if cl.rollbacks != 1 || r.Target != 1 || r.Made != 4 || cl.newest().Claim != "uid-2" {
					t.Errorf("%d rollbacks, target %d, made %d; want revision 2, which runs under the failed revision 3, rolled back to 1: %s",
						cl.rollbacks, r.Target, r.Made, report.Summary(&r))
				}
				if !r.Restore.Succeeded() || cl.weight != "20" {
					t.Errorf("weight %s, restore %+v; want the weight of revision 1", cl.weight, r.Restore)
				}
			}, underAnUpgrade(rollback.StatusFailed, c.description))
		})
	}
}

func TestAnAlertDuringTheUpgradeThatReplacesItsRevision(t *testing.T) {
	for name, end := range map[string]struct {
		status      rollback.Status
		description string
		rollbacks   int
		weight      string
	}{
		"it ends well":               {rollback.StatusDeployed, "Upgrade complete", 0, "20"},
		"it fails":                   {rollback.StatusFailed, timedOut, 1, "20"},
		"it fails before any change": {rollback.StatusFailed, hooksFailed, 1, "20"},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
				deliver(t, e, alertAbout("v3"))
				wait(10 * time.Second)
				r := c.shopRecord(2)
				if d := r.Decision(); d.Verdict != rollback.Busy || !d.NeedsHelp || c.weight != "0" || c.rollbacks != 0 {
					t.Errorf("weight %s, %d rollbacks, %+v; want a shed, a call for help, and no rollback during the upgrade", c.weight, c.rollbacks, d)
				}
				c.change(func() {
					c.newest().Status, c.newest().Description = end.status, end.description
					if end.status == rollback.StatusDeployed {
						c.history[keyOf(alert("rollback"))][1].Status = rollback.StatusSuperseded
					}
				})
				wait(time.Minute)
				if c.rollbacks != end.rollbacks || c.weight != end.weight {
					r := c.shopRecord(2)
					t.Errorf("%d rollbacks, weight %s after the upgrade; want %d and %s: %s", c.rollbacks, c.weight, end.rollbacks, end.weight, report.Summary(&r))
				}
			}, underAnUpgrade(rollback.StatusPendingUpgrade, "Preparing upgrade"))
		})
	}
}

// withoutRoute is a release without a canary's route.
type withoutRoute struct{ *cluster }

func (withoutRoute) Observe(context.Context, rollback.Key, rollback.Manifest, rollback.Consistency) (rollback.Routing, error) {
	return rollback.Routing{}, nil
}

func (withoutRoute) Shed(context.Context, rollback.Key, rollback.Manifest, rollback.Observation, rollback.Precondition) ([]rollback.Weight, error) {
	return nil, nil
}

// The process of helm upgrade was killed: nothing ends the operation, and without a route nothing
// protects the users. With one, the shed does, and the operation may still end by itself.
func TestAnUpgradeInProgressThatCannotBeShedNeedsHelpAtOnce(t *testing.T) {
	for name, plain := range map[string]bool{"with a canary": false, "without": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				underAnUpgrade(rollback.StatusPendingUpgrade, "Preparing upgrade")(c)
				e := newEngine(t, c, rollbacktest.Policy(), func(o *engine.Options) {
					if plain {
						o.Traffic = withoutRoute{c}
					}
				})
				run(t, e)
				deliver(t, e, alertAbout("v4"))
				wait(5 * time.Second)
				r, ok := c.record(rollbacktest.Shop(), 3)
				if !ok || r.Decision().Verdict != rollback.Busy || report.NeedsHelp(&r) != plain || c.rollbacks != 0 {
					t.Fatalf("%s, help asked for: %t; want busy, help asked for: %t, and no rollback", report.Summary(&r), report.NeedsHelp(&r), plain)
				}
				if plain && !suggests(&r, r.HelmRollbackCommand(2)) {
					t.Errorf("commands %v; want the one that ends the operation", report.Commands(&r))
				}
			})
		})
	}
}

// The alert names no version, so it is about the upgrade in progress, until that turns out to
// have changed nothing.
func TestTheSignalsOfAnUpgradeThatChangedNothingAreTheLiveRevisions(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alertAbout(""))
		wait(10 * time.Second)
		if r, ok := c.record(keyOf(alert("rollback")), 3); !ok || r.Decision().Verdict != rollback.Busy {
			t.Errorf("%s; want the alert with the upgrade in progress", report.Summary(&r))
		}
		c.change(func() { c.newest().Status, c.newest().Description = rollback.StatusFailed, hooksFailed })
		wait(time.Minute)
		if r := c.shopRecord(2); c.rollbacks != 1 || r.Target != 1 || c.weight != "20" {
			t.Errorf("%d rollbacks, target %d, weight %s; want revision 2 rolled back to 1: %s", c.rollbacks, r.Target, c.weight, report.Summary(&r))
		}
	}, underAnUpgrade(rollback.StatusPendingUpgrade, "Preparing upgrade"))
}

// The rollback is interrupted on top of the failed upgrade.
func TestARollbackOverAFailedUpgradeIsRecovered(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alertAbout("v3"))
		wait(time.Minute)
		r := c.shopRecord(2)
		if c.rollbacks != 1 || len(c.recovered) != 1 || r.Made != 5 {
			t.Errorf("%d rollbacks, recovered %v, made %d; want revision 4 recovered and revision 5 made: %s", c.rollbacks, c.recovered, r.Made, report.Summary(&r))
		}
	}, underAnUpgrade(rollback.StatusFailed, timedOut), func(c *cluster) { c.interruptions = 1 })
}

// Another client upgrades right before Helm rolls back.
func TestAnUpgradeOverAFailedOneIsLeftAlone(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alertAbout("v3"))
		wait(time.Minute)
		if c.rollbacks != 0 || c.newest().Versions[0] != "v5" {
			t.Errorf("%d rollbacks, newest %v; want v5 left alone", c.rollbacks, c.newest().Versions)
		}
	}, underAnUpgrade(rollback.StatusFailed, timedOut), func(c *cluster) {
		c.duringRollback = func() { c.duringRollback = nil; c.upgrade("v5", "Upgrade complete") }
	})
}
