package engine_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

// deniedAfterTheShed has Prometheus deny the alert, too late for the shed.
func deniedAfterTheShed(c *cluster) {
	c.answers, c.answerTime = answers(rollback.AnswerQuiet), 400*time.Millisecond
}

func TestAShedIsUndoneWhenPrometheusDeniesTheAlert(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(time.Minute)
		if r := c.shopRecord(2); c.weight != "20" || c.rollbacks != 0 || r.Closed.IsZero() {
			t.Errorf("weight %s, %d rollbacks, %s; want the weight restored", c.weight, c.rollbacks, report.Summary(&r))
		}
		if bad := rollback.KnownBad([]rollback.Record{c.shopRecord(2)}); len(bad) != 0 {
			t.Errorf("known bad: %v; an alert that Prometheus denied makes nothing known bad", bad)
		}
		c.change(func() { c.answers = answers(rollback.AnswerFiring) })
		later := alert("rollback")
		later.Fingerprint = "e9"
		deliver(t, e, later)
		wait(time.Minute)
		if c.rollbacks != 1 {
			t.Errorf("%d rollbacks for a later alert that is confirmed, want 1", c.rollbacks)
		}
	}, deniedAfterTheShed)
}

// The rule observes only; the alert was changed on its way, and Prometheus says so too
// late for the shed.
func TestAShedIsUndoneWhenTheAlertOnlyObservesInPrometheus(t *testing.T) {
	observed := rollback.Confirmation{Answer: rollback.AnswerFiring, Level: rollback.LevelObserve}
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(time.Minute)
		r := c.shopRecord(2)
		if c.weight != "20" || c.rollbacks != 0 || r.Closed.IsZero() || r.Decision().Verdict != rollback.Observe || report.StateOf(&r) != report.StateShedUndone {
			t.Errorf("weight %s, %d rollbacks, %s; want the weight restored", c.weight, c.rollbacks, report.Summary(&r))
		}
	}, func(c *cluster) { c.answers, c.answerTime = []rollback.Confirmation{observed}, 400*time.Millisecond })
}

func TestAHoldCanFollowAnUndoneShed(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("shed"))
		wait(time.Minute)
		c.change(func() { c.answers = answers(rollback.AnswerFiring) })
		later := alert("shed")
		later.Fingerprint = "e9"
		deliver(t, e, later)
		wait(time.Hour)
		if r := c.shopRecord(2); c.weight != "0" || !r.Hold.Active() || !r.Closed.IsZero() {
			t.Errorf("weight %s, %s; want the second shed held, and watched", c.weight, report.Summary(&r))
		}
	}, deniedAfterTheShed)
}

// The process dies between the write of the weight and that of the record; the canary
// gets no traffic, and the alert resolves before another process leads.
func TestAClaimedShedCountsThoughTheAlertHasResolved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		first := newEngine(t, c, rollbacktest.Policy())
		a := alert("rollback")
		deliver(t, first, a)
		c.change(func() { c.weight = "0" })
		wait(7 * time.Second)
		a.Resolved = true
		e := newEngine(t, c, rollbacktest.Policy())
		deliver(t, e, a)
		run(t, e)
		wait(time.Minute)
		if r := c.shopRecord(2); c.rollbacks != 1 || !r.Shed.Succeeded() {
			t.Errorf("%d rollbacks, %s; want the steps that were claimed finished", c.rollbacks, report.Summary(&r))
		}
	})
}

// The process dies after the claim, before or after the write of the weight; then
// Prometheus denies the alert.
func TestAClaimedShedThatIsNoLongerWantedLeavesNoZero(t *testing.T) {
	for weight, want := range map[string][]string{"20": nil, "0": {"20"}} {
		t.Run("weight "+weight, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				c.weight, c.answers = weight, answers(rollback.AnswerQuiet)
				storeRecord(t, c, rollbackToV2(), func(r *rollback.Record) { r.Shed = startedStep() })
				run(t, newEngine(t, c, rollbacktest.Policy(), withPrometheus(c)))
				wait(time.Minute)
				r := c.shopRecord(2)
				if c.weight != "20" || !slices.Equal(c.weightsWritten, want) || r.Shed != nil || r.Closed.IsZero() {
					t.Errorf("weight %s (written %v), %s; want 20 (written %v), no claim, and the record closed", c.weight, c.weightsWritten, report.Summary(&r), want)
				}
			})
		})
	}
}

func TestAShedThatPrometheusPreventedIsNotClaimed(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(time.Minute)
		if r := c.shopRecord(2); r.Shed != nil {
			t.Errorf("the record claims a shed that Prometheus prevented: %+v", r.Shed)
		}
	}, func(c *cluster) { c.answers = answers(rollback.AnswerQuiet) })
}
