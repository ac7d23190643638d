package engine_test

import (
	"strings"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/report"
)

// The alert began before the revision, and ends while that settles; no resolved alert comes:
// it was silenced, or send_resolved is off.
func TestASettledAlertThatIsOverTouchesNothing(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, settlingAlert())
		wait(30 * time.Second)
		c.change(func() { c.answers = answers(rollback.AnswerQuiet) })
		wait(20 * time.Minute)
		r := c.shopRecord(2)
		if c.rollbacks != 0 || len(c.weightsWritten) != 0 || r.Decision().Verdict != rollback.Stale || r.Closed.IsZero() {
			t.Errorf("%d rollbacks, weights written %v, %s; want nothing touched: Prometheus says that the alert is over", c.rollbacks, c.weightsWritten, report.Summary(&r))
		}
	}, func(c *cluster) { c.answers = answers(rollback.AnswerFiring) })
}

func TestASettledAlertThatFiresIsActedOn(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, settlingAlert())
		wait(10 * time.Minute)
		if c.rollbacks != 1 {
			t.Errorf("%d rollbacks, want 1: Prometheus says that the alert fires now", c.rollbacks)
		}
	}, func(c *cluster) { c.answers = answers(rollback.AnswerFiring) })
}

// Prometheus confirmed the alert, and cannot be asked at the end of the wait.
func TestASettledAlertWithoutAnAnswer(t *testing.T) {
	for name, repeats := range map[string]int{"repeated": 1, "not repeated": 0} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
				episode := settlingAlert()
				deliver(t, e, episode)
				wait(5 * time.Minute)
				c.change(func() { c.answers = answers(rollback.AnswerUnknown) })
				for range repeats {
					deliver(t, e, episode)
				}
				wait(15 * time.Minute)
				if c.rollbacks != repeats {
					r := c.shopRecord(2)
					t.Errorf("%d rollbacks, want %d: %s", c.rollbacks, repeats, report.Summary(&r))
				}
			}, func(c *cluster) { c.answers = answers(rollback.AnswerFiring) })
		})
	}
}

func TestWithoutPrometheusASettledAlertHasToBeRepeated(t *testing.T) {
	settling := func() rollback.Alert {
		a := settlingAlert()
		a.StartsAt, a.Route = time.Date(1999, 12, 31, 23, 50, 0, 0, time.UTC), "canary-demo/backout/slow"
		return a
	}
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, settling())
		wait(20 * time.Minute)
		r := c.shopRecord(2)
		if d := r.Decision(); c.rollbacks != 0 || len(c.weightsWritten) != 0 || !report.NeedsHelp(&r) || !strings.Contains(d.Reason, "canary-demo/backout/slow") {
			t.Errorf("%d rollbacks, weights written %v, %+v; want nothing touched, and the route named that has not repeated the alert", c.rollbacks, c.weightsWritten, d)
		}
		deliver(t, e, settling())
		wait(20 * time.Second)
		if c.rollbacks != 1 {
			t.Errorf("%d rollbacks after the alert was repeated, want 1", c.rollbacks)
		}
	})
}

func TestAnAlertOfAPauseIsAskedAboutAgain(t *testing.T) {
	for answer, want := range map[rollback.Answer]int{rollback.AnswerFiring: 1, rollback.AnswerQuiet: 0} {
		t.Run(string(answer), func(t *testing.T) {
			simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
				c.change(func() { c.paused = "paused by ada" })
				episode := alert("rollback")
				deliver(t, e, episode)
				wait(5 * time.Minute)
				c.change(func() { c.paused, c.answers = "", answers(answer) })
				deliver(t, e, episode)
				wait(time.Minute)
				if c.rollbacks != want {
					r := c.shopRecord(2)
					t.Errorf("%d rollbacks after the pause, want %d: %s", c.rollbacks, want, report.Summary(&r))
				}
			}, func(c *cluster) { c.answers = answers(rollback.AnswerFiring) })
		})
	}
}

// A shed quiets its alert: an alert that was shed while it waited is not asked about again.
func TestAShedAlertThatWaitsIsNotAskedAboutAgain(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(10 * time.Second)
		c.change(func() { c.answers = answers(rollback.AnswerQuiet) })
		wait(10 * time.Minute)
		c.change(func() { c.newest().Status = rollback.StatusDeployed })
		wait(time.Minute)
		if c.rollbacks != 1 {
			t.Errorf("%d rollbacks after the upgrade ended, want 1: the alert fired when it was received", c.rollbacks)
		}
	}, upgradeInFlight, func(c *cluster) { c.answers = answers(rollback.AnswerFiring) })
}

// It waited for the revision to settle, was shed then, and now waits for Helm.
func TestALateAlertThatWasShedIsNotAskedAboutAgain(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, settlingAlert())
		wait(10 * time.Minute)
		if c.weight != "0" || c.rollbacks != 0 {
			t.Fatalf("weight %s, %d rollbacks; want a shed while Helm works", c.weight, c.rollbacks)
		}
		c.change(func() { c.answers = answers(rollback.AnswerQuiet) })
		wait(time.Minute)
		c.change(func() { c.newest().Status = rollback.StatusDeployed })
		wait(time.Minute)
		if c.rollbacks != 1 {
			t.Errorf("%d rollbacks after the upgrade ended, want 1: the alert fired when it was shed", c.rollbacks)
		}
	}, upgradeInFlight, func(c *cluster) { c.answers = answers(rollback.AnswerFiring) })
}

// Another alert joins the wait of the first, and is over at its end, too.
func TestAnAlertThatJoinsAWaitIsAskedAbout(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, settlingAlert())
		wait(time.Minute)
		second := settlingAlert()
		second.Labels["alertname"], second.Fingerprint = "AnotherAlert", "second"
		deliver(t, e, second)
		wait(time.Minute)
		c.change(func() { c.answers = answers(rollback.AnswerQuiet) })
		wait(20 * time.Minute)
		if r := c.shopRecord(2); c.rollbacks != 0 || len(c.weightsWritten) != 0 {
			t.Errorf("%d rollbacks, weights written %v, %s; want nothing touched: both alerts are over", c.rollbacks, c.weightsWritten, report.Summary(&r))
		}
	}, func(c *cluster) { c.answers = answers(rollback.AnswerFiring) })
}

// The revision has settled, and Alertmanager's next repeat is not due yet.
func TestAnAlertThatIsNotDueForARepeatWaits(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		episode := settlingAlert()
		wait(3 * time.Minute)
		deliver(t, e, episode)
		wait(4 * time.Minute)
		r := c.shopRecord(2)
		if d := r.Decision(); c.rollbacks != 0 || len(c.weightsWritten) != 0 || d.Verdict != rollback.Settling || report.NeedsHelp(&r) {
			t.Fatalf("%d rollbacks, weights written %v, %+v; want it to wait for the repeat, without a call for help", c.rollbacks, c.weightsWritten, d)
		}
		deliver(t, e, episode)
		wait(20 * time.Second)
		if c.rollbacks != 1 {
			t.Errorf("%d rollbacks after the repeat, want 1", c.rollbacks)
		}
	})
}

// Without Prometheus nothing but a repeat changes the decision: it is taken again when one is due.
func TestAMissedRepeatIsAwaitedUntilTheNextIsDue(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, settlingAlert())
		wait(20 * time.Minute)
		r := c.shopRecord(2)
		if due := r.Decision().RecheckAt; !due.Equal(r.Signals[0].LastSeen.Add(24 * time.Minute)) {
			t.Errorf("decided again at %s, want when a repeat is due, every BACKOUT_REPEAT (6m), each time twice as long after %s", due, r.Signals[0].LastSeen)
		}
		decisions, reads := len(r.Decisions), c.storedReads
		wait(time.Hour)
		if r := c.shopRecord(2); len(r.Decisions) > decisions+2 {
			t.Errorf("%d decisions an hour later, %d before; want one more each time that the time has doubled", len(r.Decisions), decisions)
		}
		if n := c.storedReads - reads; n > 2*4*60 {
			t.Errorf("%d reads within an hour, want two in 15 seconds at most", n)
		}
	})
}
