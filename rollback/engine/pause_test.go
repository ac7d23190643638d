package engine_test

import (
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

func TestAPauseStopsStepsThatWereNotBegun(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(time.Hour)
		if r, ok := c.record(rollbacktest.Shop(), 2); !ok || r.Decision().Verdict != rollback.Paused || c.rollbacks != 0 || len(c.weightsWritten) != 0 {
			t.Fatalf("%d rollbacks, weights written %v, %s; want a record and nothing else", c.rollbacks, c.weightsWritten, report.Summary(&r))
		}
		c.change(func() { c.paused = "" })
		deliver(t, e, alert("rollback"))
		wait(time.Minute)
		if c.rollbacks != 1 {
			t.Errorf("%d rollbacks after backout was resumed and the alert repeated, want 1", c.rollbacks)
		}
	}, func(c *cluster) { c.paused = "everything is paused by ann" })
}

func TestAPauseStopsARollbackThatWasBegun(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(time.Second)
		c.change(func() { c.paused = "paused by ann" })
		wait(time.Minute)
		if newest := c.newest(); c.rollbacks != 0 || newest.Status.Pending() {
			t.Fatalf("%d rollbacks, revision %d is %s while paused; want none, and nothing pending", c.rollbacks, newest.Number, newest.Status)
		}
		c.change(func() { c.paused, c.interruptions = "", 0 })
		wait(time.Minute)
		if c.rollbacks != 1 {
			t.Errorf("%d rollbacks after backout was resumed, want 1", c.rollbacks)
		}
	}, func(c *cluster) { c.interruptions, c.rollbackTime = 1, 4*time.Second })
}

func TestAHoldOutlastsAPause(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(time.Minute)
		c.change(func() { c.paused = "paused by ann" })
		deliver(t, e, alert("rollback"))
		wait(time.Minute)
		c.change(func() { c.paused = "" })
		deliver(t, e, alert("rollback"))
		wait(time.Hour)
		if r := c.shopRecord(2); r.Decision().Verdict != rollback.Baked || !r.Hold.Active() || c.weight != "0" {
			t.Errorf("%s; want the hold as it was before the pause", report.Summary(&r))
		}
	}, bakedRevision)
}

func TestAZeroFromBeforeAPauseIsWatchedAfterIt(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		c.beforePreflight = func() { c.change(func() { c.paused = "everything is paused by ann" }) }
		deliver(t, e, alert("rollback"))
		wait(time.Minute)
		c.upgrade("v4", "Upgrade complete")
		wait(10 * time.Minute)
		if c.weight != "0" || c.rollbacks != 0 {
			t.Errorf("weight %s, %d rollbacks while paused; want nothing touched after the shed", c.weight, c.rollbacks)
		}
		c.change(func() { c.paused = "" })
		wait(time.Minute)
		if r := c.shopRecord(2); c.weight != "20" || r.Closed.IsZero() {
			t.Errorf("weight %s, %s; want v4's weight restored once backout is resumed", c.weight, report.Summary(&r))
		}
	})
}
