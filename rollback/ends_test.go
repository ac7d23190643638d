package rollback_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// story plays on one release, v3 at 20%, with a Prometheus if there are answers.
func story(t *testing.T, tell func(t *testing.T, c *cluster, e *rollback.Engine), set ...func(*cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		for _, s := range set {
			s(c)
		}
		var options []func(*rollback.Options)
		if len(c.answers) > 0 {
			options = append(options, asking(c))
		}
		e := newEngine(t, c, policy(), options...)
		run(t, e)
		tell(t, c, e)
	})
}

func (c *cluster) change(do func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	do()
}

func old(c *cluster) { c.history[shop()][0].Deployed = time.Now().Add(-48 * time.Hour) }

func upgrading(c *cluster) { c.history[shop()][0].Status = rollback.StatusPendingUpgrade }

func TestAHoldIsConfirmedBeforeItsShed(t *testing.T) {
	story(t, func(t *testing.T, c *cluster, e *rollback.Engine) {
		accept(t, e, alert("rollback"))
		pass(time.Hour)
		if r, _ := c.record(shop(), 2); len(c.raised) != 0 || r.Decision().Verdict != rollback.Unconfirmed {
			t.Errorf("weights %v, %s; want nothing touched for an alert that Prometheus denies", c.raised, r.Summary())
		}
	}, old, func(c *cluster) { c.answers = []rollback.Confirmation{answer(rollback.AnswerQuiet)} })
}

func TestContentThatWasHeldIsNoTarget(t *testing.T) {
	story(t, func(t *testing.T, c *cluster, e *rollback.Engine) {
		accept(t, e, alert("shed"))
		pass(time.Minute)
		c.upgrade("v4", "Upgrade complete")
		pass(time.Minute)
		bad := alert("rollback")
		bad.Labels["version"] = "v4"
		accept(t, e, bad)
		pass(time.Minute)
		if r, _ := c.record(shop(), 3); r.Target != 1 {
			t.Errorf("%s; want to go back to v2: v3 was held", r.Summary())
		}
	})
}

func TestAShedWithoutARollbackIsTriedOn(t *testing.T) {
	story(t, func(t *testing.T, c *cluster, e *rollback.Engine) {
		accept(t, e, alert("shed"))
		pass(time.Hour)
		if r, _ := c.record(shop(), 2); c.weight != "0" || !r.Hold.Lasts() {
			t.Errorf("weight %s, %s; want the shed done once the router can be written again", c.weight, r.Summary())
		}
	}, func(c *cluster) {
		for range 12 {
			c.shedErrors = append(c.shedErrors, errors.New("failed calling webhook"))
		}
	})
}

func TestHelmsOwnWriteIsNoPersons(t *testing.T) {
	story(t, func(t *testing.T, c *cluster, e *rollback.Engine) {
		accept(t, e, alert("shed"))
		pass(10 * time.Second)
		c.change(func() { c.set("20") }) // Helm gets to the Ingress
		pass(10 * time.Second)
		c.change(func() { c.history[shop()][0].Status = rollback.StatusDeployed })
		pass(time.Minute)
		if r, _ := c.record(shop(), 2); c.weight != "0" || !r.Hold.Lasts() {
			t.Errorf("weight %s, %s; want the hold to outlast the upgrade", c.weight, r.Summary())
		}
	}, upgrading)
}

func TestWhatPrometheusDeniesAfterTheShedIsRaisedAgain(t *testing.T) {
	story(t, func(t *testing.T, c *cluster, e *rollback.Engine) {
		accept(t, e, alert("rollback"))
		pass(time.Minute)
		if r, _ := c.record(shop(), 2); c.weight != "20" || c.rollbacks != 0 || r.Closed.IsZero() {
			t.Errorf("weight %s, %d rollbacks, %s; want the weight back", c.weight, c.rollbacks, r.Summary())
		}
		c.change(func() { c.answers = []rollback.Confirmation{answer(rollback.AnswerFiring)} })
		again := alert("rollback")
		again.Fingerprint = "e9"
		accept(t, e, again)
		pass(time.Minute)
		if c.rollbacks != 1 {
			t.Errorf("%d rollbacks for a later alert that is confirmed, want 1", c.rollbacks)
		}
	}, func(c *cluster) {
		c.answers = []rollback.Confirmation{answer(rollback.AnswerQuiet)}
		c.answerAfter = 400 * time.Millisecond // too late for the shed
	})
}

func TestAHoldCanFollowWhatWasRaisedAgain(t *testing.T) {
	story(t, func(t *testing.T, c *cluster, e *rollback.Engine) {
		accept(t, e, alert("shed"))
		pass(time.Minute)
		c.change(func() { c.answers = []rollback.Confirmation{answer(rollback.AnswerFiring)} })
		again := alert("shed")
		again.Fingerprint = "e9"
		accept(t, e, again)
		pass(time.Hour)
		if r, _ := c.record(shop(), 2); c.weight != "0" || !r.Hold.Lasts() || !r.Closed.IsZero() {
			t.Errorf("weight %s, %s; want the second shed held, and watched", c.weight, r.Summary())
		}
	}, func(c *cluster) {
		c.answers = []rollback.Confirmation{answer(rollback.AnswerQuiet)}
		c.answerAfter = 400 * time.Millisecond
	})
}

func TestNoZeroIsLeftBehindUnwatched(t *testing.T) {
	story(t, func(t *testing.T, c *cluster, e *rollback.Engine) {
		c.beforeRollback = func() { c.change(func() { c.paused = "everything is paused by ann" }) }
		accept(t, e, alert("rollback"))
		pass(time.Minute)
		c.upgrade("v4", "Upgrade complete")
		pass(10 * time.Minute)
		if c.weight != "0" || c.rollbacks != 0 {
			t.Errorf("weight %s, %d rollbacks while paused; want nothing touched after the shed", c.weight, c.rollbacks)
		}
		c.change(func() { c.paused = "" })
		pass(time.Minute)
		if r, _ := c.record(shop(), 2); c.weight != "20" || r.Closed.IsZero() {
			t.Errorf("weight %s, %s; want v4's weight raised once backout goes on", c.weight, r.Summary())
		}
	})
}

func TestAPauseStopsARollbackThatWasBegun(t *testing.T) {
	story(t, func(t *testing.T, c *cluster, e *rollback.Engine) {
		accept(t, e, alert("rollback"))
		pass(time.Second)
		c.change(func() { c.paused = "paused by ann" })
		pass(time.Minute)
		if c.rollbacks != 0 || c.history[shop()][0].Status.Pending() {
			t.Fatalf("%d rollbacks, revision %d is %s while paused; want none, and nothing pending", c.rollbacks, c.history[shop()][0].Number, c.history[shop()][0].Status)
		}
		c.change(func() { c.paused, c.interrupted = "", 0 })
		pass(time.Minute)
		if c.rollbacks != 1 {
			t.Errorf("%d rollbacks after backout was resumed, want 1", c.rollbacks)
		}
	}, func(c *cluster) { c.interrupted = 1; c.rollbackTime = 4 * time.Second })
}

func TestAPauseDoesNotForgetAHold(t *testing.T) {
	story(t, func(t *testing.T, c *cluster, e *rollback.Engine) {
		accept(t, e, alert("rollback"))
		pass(time.Minute)
		c.change(func() { c.paused = "paused by ann" })
		accept(t, e, alert("rollback"))
		pass(time.Minute)
		c.change(func() { c.paused = "" })
		accept(t, e, alert("rollback"))
		pass(time.Hour)
		if r, _ := c.record(shop(), 2); r.Decision().Verdict != rollback.Baked || !r.Hold.Lasts() || c.weight != "0" {
			t.Errorf("%s; want the hold as it was before the pause", r.Summary())
		}
	}, old)
}

func TestAStuckUpgradeIsAPersonsToMend(t *testing.T) {
	story(t, func(t *testing.T, c *cluster, e *rollback.Engine) {
		accept(t, e, alert("rollback"))
		pass(10 * time.Second)
		c.change(func() { c.set("5") })
		pass(time.Minute)
		if r, _ := c.record(shop(), 2); c.weight != "5" || !r.Decision().People {
			t.Errorf("weight %s, %s; want the person's 5 on an upgrade that hangs for hours", c.weight, r.Summary())
		}
	}, upgrading, func(c *cluster) { c.history[shop()][0].Deployed = time.Now().Add(-3 * time.Hour) })
}

func TestAnAlertThatIsRepeatedMakesNoStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		e := newEngine(t, c, policy())
		run(t, e)
		alerts := crowd(c, 5)
		for range 8 {
			accept(t, e, alerts...)
			pass(5 * time.Minute)
		}
		if c.rollbacks != 5 {
			t.Errorf("%d rollbacks after 40 minutes of the same five alerts; want the storm to be over after 10", c.rollbacks)
		}
	})
}

func TestStaleAlertsMakeNoStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		e := newEngine(t, c, policy())
		run(t, e)
		stale := crowd(c, 4)
		for i := range stale {
			stale[i].Labels["version"] = "v2"
		}
		accept(t, e, append(stale, alert("rollback"))...)
		pass(time.Minute)
		if c.rollbacks != 1 {
			t.Errorf("%d rollbacks beside four alerts about replaced versions, want 1", c.rollbacks)
		}
	})
}

func TestALookAheadThatNeverWorksCallsForAPerson(t *testing.T) {
	story(t, func(t *testing.T, c *cluster, e *rollback.Engine) {
		accept(t, e, alert("rollback"))
		pass(6 * time.Hour)
		r, _ := c.record(shop(), 2)
		if c.checks > 40 || r.Decision().Verdict != rollback.Unsafe || !r.Decision().People || !strings.Contains(r.Decision().Reason, "failed calling webhook") {
			t.Errorf("%d looks ahead, %s; want a bound, a hold, and the reason told", c.checks, r.Summary())
		}
	}, func(c *cluster) {
		for range 1000 {
			c.checkErrors = append(c.checkErrors, errors.New("failed calling webhook"))
		}
	})
}

func TestAnAccusationThatComesToNothingDoesNotStopTheRaise(t *testing.T) {
	story(t, func(t *testing.T, c *cluster, e *rollback.Engine) {
		accept(t, e, alert("rollback"))
		pass(10 * time.Second)
		c.change(func() { c.answers = []rollback.Confirmation{answer(rollback.AnswerQuiet)} })
		later := alert("rollback")
		later.Labels["version"], later.Fingerprint = "v2", "e2"
		accept(t, e, later)
		pass(10 * time.Second)
		c.change(func() { c.ready = true })
		pass(time.Minute)
		if c.weight != "20" {
			r, _ := c.record(shop(), 2)
			t.Errorf("weight %s, %+v; want v2's weight raised: Prometheus denied the alert about it", c.weight, r.Raise)
		}
	}, func(c *cluster) {
		c.ready, c.answers = false, []rollback.Confirmation{answer(rollback.AnswerFiring)}
	})
}

func TestAReplicaThatDoesNotLeadShedsBesideAnOpenRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		opened(t, c, rollback.Decision{Verdict: rollback.Baked, Shed: true, Hold: true}, nil)
		c.upgrade("v4", "Upgrade complete")
		e := newEngine(t, c, policy(), following)
		run(t, e)
		bad := alert("rollback")
		bad.Labels["version"] = "v4"
		accept(t, e, bad)
		pass(time.Minute)
		if c.weight != "0" {
			t.Errorf("weight %s; want the canary shed by whoever stored the alert", c.weight)
		}
	})
}

func TestPrometheusIsAskedForAsLongAsAnAlertSettles(t *testing.T) {
	story(t, func(t *testing.T, c *cluster, e *rollback.Engine) {
		early := alert("rollback")
		delete(early.Labels, "version")
		early.StartsAt = time.Now().Add(-10 * time.Minute)
		accept(t, e, early)
		pass(3 * time.Minute)
		c.change(func() { c.answers = []rollback.Confirmation{answer(rollback.AnswerQuiet)} })
		pass(20 * time.Minute)
		if r, _ := c.record(shop(), 2); len(c.raised) != 0 || r.Decision().Verdict != rollback.Unconfirmed {
			t.Errorf("weights %v, %s; want Prometheus asked again, and believed", c.raised, r.Summary())
		}
	}, func(c *cluster) { c.answers = []rollback.Confirmation{answer(rollback.AnswerUnknown)} })
}

func TestAPersonsOrderIsNoAlert(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		hand := rollback.Hand{Releases: c, Traffic: c, Ledger: c, Who: "ann"}
		if _, err := hand.Hold(t.Context(), shop(), "looks odd"); err != nil {
			t.Fatal(err)
		}
		e := newEngine(t, c, policy())
		run(t, e)
		a := alert("rollback")
		accept(t, e, a)
		pass(time.Minute)
		if r, _ := c.record(shop(), 2); r.Hold.Lasts() {
			t.Errorf("%s; want the hold over once the release was rolled back", r.Summary())
		}
		a.Resolved = true
		accept(t, e, a)
		pass(time.Hour)
		if r, _ := c.record(shop(), 2); r.Outcome != rollback.Restored {
			t.Errorf("outcome %q; want the alert's resolve to count, and nothing else", r.Outcome)
		}
	})
}

func TestReleaseByHandWinsOverWhatWaits(t *testing.T) {
	story(t, func(t *testing.T, c *cluster, e *rollback.Engine) {
		accept(t, e, alert("rollback"))
		pass(10 * time.Second)
		hand := rollback.Hand{Releases: c, Traffic: c, Ledger: c, Who: "ann"}
		if _, err := hand.Release(t.Context(), shop()); err != nil {
			t.Fatal(err)
		}
		pass(time.Minute)
		if r, _ := c.record(shop(), 2); c.weight != "20" || !r.Hold.Lifted {
			t.Errorf("weight %s (%v), %s, hold %+v; want what ann released to stay released", c.weight, c.raised, r.Summary(), r.Hold)
		}
	}, upgrading)
}

func TestOrdersAreRefusedDuringARollback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		opened(t, c, acting(), func(r *rollback.Record) { r.Rollback, r.Target = &rollback.Step{Started: time.Now()}, 1 })
		hand := rollback.Hand{Releases: c, Traffic: c, Ledger: c, Who: "ann"}
		_, holdErr := hand.Hold(t.Context(), shop(), "")
		_, releaseErr := hand.Release(t.Context(), shop())
		for _, err := range []error{holdErr, releaseErr} {
			if err == nil || !strings.Contains(err.Error(), "kubectl get configmap backout.v1.canary-demo.v2") {
				t.Errorf("got %v; want a refusal that says where to look", err)
			}
		}
		if len(c.raised) != 0 {
			t.Errorf("weights %v written beside a rollback", c.raised)
		}
	})
}

func TestShedIsLookedAtAgainOnceStablePodsAreBack(t *testing.T) {
	story(t, func(t *testing.T, c *cluster, e *rollback.Engine) {
		accept(t, e, alert("shed"))
		pass(5 * time.Second)
		c.change(func() { c.routing.NoStable = "" })
		pass(time.Minute)
		if c.weight != "0" {
			t.Errorf("weight %s after the stable pods are back, want 0", c.weight)
		}
	}, func(c *cluster) { c.routing.NoStable = "Service shop has no ready endpoint" })
}

func TestAnOptOutLeavesNothingPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		opened(t, c, acting(), func(r *rollback.Record) { r.Rollback, r.Target = &rollback.Step{Started: time.Now()}, 1 })
		c.revise("v2", "Rollback to 1", "uid-2")
		c.history[shop()][0].Status = rollback.StatusPendingRollback
		p := policy()
		p.Releases = nil
		run(t, newEngine(t, c, p))
		pass(time.Minute)
		if got := c.history[shop()][0].Status; got != rollback.StatusFailed {
			t.Errorf("our own revision 3 is %s after the release was opted out, want failed", got)
		}
	})
}

func TestARecordThatIsDeletedAndOpenedAnewIsAnother(t *testing.T) {
	story(t, func(t *testing.T, c *cluster, e *rollback.Engine) {
		c.afterShed = func() {
			// While the shed is noted, a person deletes the record and raises the weight,
			// and the alert comes again.
			again := c.copies(shop())[0]
			again.Opened = again.Opened.Add(time.Millisecond)
			c.records[shop()] = []rollback.Record{again}
			c.set("20")
		}
		accept(t, e, alert("shed"))
		pass(time.Minute)
		if r, _ := c.record(shop(), 2); c.weight != "0" || !r.Hold.Lasts() {
			t.Errorf("weight %s, %s; want the new record's own shed done", c.weight, r.Summary())
		}
	})
}
