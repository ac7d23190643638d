package engine_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

func TestTheWeightStaysZeroUntilTheTargetIsReady(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(time.Hour)
		if c.weight != "0" {
			t.Fatalf("weight %s with pods that are not ready", c.weight)
		}
		if r := c.shopRecord(2); r.Restore == nil || r.Restore.Error != "waiting for the canary's pod" {
			t.Errorf("the record does not say what the restore waits for: %+v", r.Restore)
		}
		c.change(func() { c.ready = true })
		if r := c.shopRecord(2); r.Outcome != rollback.OutcomeNotRecovered || !strings.Contains(report.Summary(&r), "waiting for the canary's pod") {
			t.Errorf("%s; want not-recovered reported after an hour without ready pods", report.Summary(&r))
		}
		wait(time.Minute)
		if c.weight != "20" {
			t.Errorf("weight %s after the pods got ready, want 20", c.weight)
		}
	}, func(c *cluster) { c.ready = false })
}

func TestNoWeightIsRestoredOnAHeldRevision(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(10 * time.Minute)
		deliver(t, e, alertAbout("v2")) // the version that backout rolled back to
		wait(time.Minute)
		c.change(func() { c.ready = true })
		wait(time.Hour)
		if r := c.shopRecord(3); r.Decision().Verdict != rollback.Own || c.weight != "0" {
			t.Errorf("%s, weight %s; want it held at 0", report.Summary(&r), c.weight)
		}
	}, func(c *cluster) { c.ready = false })
}

// Another replica has claimed a shed of the revision that the rollback made, and has not
// done it yet.
func TestTheRestoreWaitsForAClaimedShedOfTheNewRevision(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*rollback.Record)
		want   bool
	}{
		"the record is open":   {func(*rollback.Record) {}, false},
		"the record is closed": {func(r *rollback.Record) { r.Closed = time.Now() }, true},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
				deliver(t, e, alert("rollback"))
				wait(10 * time.Second)
				own := rollback.Decision{Verdict: rollback.Own, Shed: true, Hold: true}
				storeRecord(t, c, own, tc.change, func(r *rollback.Record) {
					r.Revision, r.UID, r.Content, r.Shed = 3, "uid-3", "c2", startedStep()
				})
				c.change(func() { c.ready = true })
				wait(time.Minute)
				if got := slices.Contains(c.weightsWritten, "20"); got != tc.want {
					t.Errorf("weights written %v; weight restored: %v, want %v", c.weightsWritten, got, tc.want)
				}
			}, func(c *cluster) { c.ready = false })
		})
	}
}

func TestADeniedAlertDoesNotPreventTheRestore(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(10 * time.Second)
		c.change(func() { c.answers = answers(rollback.AnswerQuiet) })
		deliver(t, e, alertAbout("v2"))
		wait(10 * time.Second)
		c.change(func() { c.ready = true })
		wait(time.Minute)
		if r := c.shopRecord(2); c.weight != "20" {
			t.Errorf("weight %s, %+v; want v2's weight restored: Prometheus denied the alert about it", c.weight, r.Restore)
		}
	}, func(c *cluster) {
		c.ready, c.answers = false, answers(rollback.AnswerFiring)
	})
}

func TestNoWeightIsRestoredInAnotherInstallation(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(time.Minute)
		c.change(func() {
			for i := range c.history[rollbacktest.Shop()] {
				c.history[rollbacktest.Shop()][i].UID += "-of-another-installation"
			}
			c.ready = true
		})
		wait(time.Minute)
		r := c.shopRecord(2)
		if c.weight != "0" || !r.Restore.Failed || r.Closed.IsZero() {
			t.Errorf("weight %s, %s; want it left to the other client, and the record closed", c.weight, report.Summary(&r))
		}
	}, func(c *cluster) { c.ready = false })
}

// Helm leaves the zero on most routes as it is.
func TestTheHoldOfAnOvertakenRestoreEndsWithTheNewPods(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(time.Minute)
		c.upgrade("v4", "Upgrade complete")
		wait(time.Minute)
		if r := c.shopRecord(2); c.weight != "0" || !r.Hold.Active() || !r.Closed.IsZero() {
			t.Fatalf("weight %s, %s; want it held until v4's pods are ready", c.weight, report.Summary(&r))
		}
		c.change(func() { c.ready = true })
		wait(time.Minute)
		if r := c.shopRecord(2); c.weight != "20" || r.Closed.IsZero() {
			t.Errorf("weight %s, %s; want v4's weight restored, and the record closed", c.weight, report.Summary(&r))
		}
	}, func(c *cluster) { c.ready = false })
}

func TestAnUpgradeRightBeforeTheRestoreIsLeftAlone(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(time.Hour)
		if r := c.shopRecord(2); c.weight != "5" || r.Closed.IsZero() {
			t.Errorf("weight %s, %s; want v4's own 5", c.weight, report.Summary(&r))
		}
	}, func(c *cluster) {
		c.beforeRestore = sync.OnceFunc(func() {
			c.upgrade("v4", "Upgrade complete")
			c.change(func() { c.setWeight("5") })
		})
	})
}
