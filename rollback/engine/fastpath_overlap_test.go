package engine_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

// Two Alertmanagers deliver the same alert, before the watch has delivered the record of
// the first one.
func TestADuplicateDeliveryDoesNotCancelTheShed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.answerTime = 100 * time.Millisecond
		c.answers = answers(rollback.AnswerFiring)
		c.freezeCache()
		e := newEngine(t, c, rollbacktest.Policy(), withPrometheus(c), follower)
		run(t, e)
		deliver(t, e, alert("rollback"))
		wait(20 * time.Millisecond)
		deliver(t, e, alert("rollback"))
		wait(time.Second)
		if c.weight != "0" {
			t.Errorf("weight %s; want the replica that stored the signal to shed", c.weight)
		}
	})
}

// Two webhooks within 50 ms lead to different decisions, while the first shed is on its way.
func TestTwoDecisionsShedOnce(t *testing.T) {
	for name, role := range map[string]func(*engine.Options){"leader": leader, "follower": follower} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				c.answerTime = 100 * time.Millisecond
				c.answers = answers(rollback.AnswerFiring)
				var sheds atomic.Int32
				c.beforeShed = func() { sheds.Add(1); time.Sleep(100 * time.Millisecond) }
				e := newEngine(t, c, rollbacktest.Policy(), withPrometheus(c), role)
				run(t, e)
				deliver(t, e, alert("shed"))
				wait(50 * time.Millisecond)
				deliver(t, e, alert("rollback"))
				wait(30 * time.Second)
				r := c.shopRecord(2)
				if r.Shed.Attempts != 1 || len(r.Weights) != 1 || r.Weights[0].From != "20" {
					t.Errorf("%d attempts, weights %v; want one, from 20 to 0", r.Shed.Attempts, r.Weights)
				}
			})
		})
	}
}

// A pause is decided while the API server stalls the shed of an earlier decision, with all
// workers busy.
func TestAStalledShedLeavesNoZeroWithoutAHold(t *testing.T) {
	for name, notCached := range map[string]bool{"cached": false, "not cached": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				c.notCached = notCached
				p := rollbacktest.Policy()
				p.StormReleases = 100
				e := newEngine(t, c, p)
				run(t, e)
				c.rollbackTime = 6 * time.Second
				deliver(t, e, addReleases(c, 8)...)
				wait(5 * time.Second)                // Helm works on all eight
				c.change(func() { c.weight = "20" }) // all releases of the fake share one weight
				var once sync.Once
				c.beforeShed = func() { once.Do(func() { time.Sleep(10 * time.Second) }) }
				deliver(t, e, alert("shed"))
				wait(50 * time.Millisecond)
				c.change(func() { c.paused = "everything is paused by ann" })
				deliver(t, e, alert("rollback"))
				wait(5 * time.Second)
				c.change(func() { c.weightsWritten = nil })
				wait(time.Hour)
				r := c.shopRecord(2)
				if len(c.weightsWritten) > 0 && !r.Hold.Active() && !r.Closed.IsZero() {
					t.Errorf("%s; want no zero without a hold", report.Summary(&r))
				}
			})
		})
	}
}

// While Helm works on a rollback of the release, its worker does nothing else: a shed that
// was prepared meanwhile is too old then, and the leader decides again.
func TestAReleaseHasOneWorkerAtATime(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(30 * time.Second)
		c.upgrade("v4", "Upgrade complete")
		c.change(func() { c.setWeight("20") }) // by the chart of v4
		deliver(t, e, alertAbout("v4"))
		wait(10 * time.Second)
		var weight string
		c.change(func() { weight = c.weight })
		if older := c.shopRecord(2); weight != "20" || older.Rollback == nil || older.Rollback.Finished() {
			t.Errorf("weight %s, %s; want Helm still working on the rollback of v3, and nothing else", weight, report.Summary(&older))
		}
		wait(5 * time.Minute)
		if r := c.shopRecord(3); c.weight != "0" || !r.Shed.Succeeded() {
			t.Errorf("weight %s, %s; want v4 out of rotation after that", c.weight, report.Summary(&r))
		}
	}, func(c *cluster) { c.rollbackTime = 2 * time.Minute })
}
