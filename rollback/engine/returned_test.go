package engine_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

// redeploy deploys v3 again, as revision 4, with the content of revision 2.
func (c *cluster) redeploy() {
	c.upgrade("v3", "Upgrade complete")
	c.change(func() { c.newest().Content, c.weight = "c3", "20" })
}

// untouched reports that neither the weight nor the release was changed since the redeployment.
func (c *cluster) untouched(t *testing.T, why string) {
	t.Helper()
	if rollbacks, weight := c.progress(); rollbacks != 1 || weight != "20" {
		r := c.shopRecord(4)
		t.Fatalf("%d rollbacks, weight %s; want the one of revision 2, and the weight as it is: %s; %s", rollbacks, weight, why, report.Summary(&r))
	}
}

// afterTheRollback runs the test on a cluster on which v3 was rolled back a minute ago, and whose
// alert goes on firing. The rule looks back for a minute.
func afterTheRollback(t *testing.T, test func(t *testing.T, c *cluster, e *engine.Engine), options ...func(*engine.Options)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.answers, c.window = answers(rollback.AnswerFiring), time.Minute
		e := newEngine(t, c, rollbacktest.Policy(), append([]func(*engine.Options){withPrometheus(c)}, options...)...)
		c.saved = e.OnRecord
		run(t, e)
		a := alert("rollback")
		a.StartsAt = time.Date(1999, 12, 31, 23, 59, 50, 0, time.UTC)
		deliver(t, e, a)
		wait(time.Minute)
		if rollbacks, weight := c.progress(); rollbacks != 1 || weight != "20" {
			t.Fatalf("%d rollbacks, weight %s; want revision 2 rolled back", rollbacks, weight)
		}
		test(t, c, e)
	})
}

// Alertmanager sends nothing new: the alert never stopped firing.
func TestKnownBadContentThatComesBackIsDecidedOnItsOwnEvidence(t *testing.T) {
	afterTheRollback(t, func(t *testing.T, c *cluster, _ *engine.Engine) {
		c.redeploy()
		wait(time.Minute)
		c.untouched(t, "the window of the alert begins before the pods of revision 4 served")
		wait(20 * time.Second)
		r := c.shopRecord(4)
		if _, weight := c.progress(); weight != "0" || r.Decision().Verdict != rollback.Cooldown {
			t.Errorf("weight %s, %s; want it at zero at the first evaluation whose window begins after the pods served", weight, report.Summary(&r))
		}
	})
}

// The same tag again, and its pods are well: the alert fires on what the pods of revision 2 did,
// and then ends. No resolved alert comes.
func TestAHealthyRedeploymentIsNotJudgedByItsPredecessor(t *testing.T) {
	afterTheRollback(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		c.redeploy()
		wait(30 * time.Second)
		again := alert("rollback") // another episode, on the same evidence
		again.StartsAt = time.Now()
		deliver(t, e, again)
		wait(20 * time.Second)
		c.untouched(t, "the alert fires on what revision 2 did")
		c.change(func() { c.answers = answers(rollback.AnswerQuiet) })
		wait(20 * time.Minute)
		c.untouched(t, "the alert is over")
		if r := c.shopRecord(4); r.Decision().Verdict != rollback.Stale || r.Closed.IsZero() {
			t.Errorf("%s; want the record closed", report.Summary(&r))
		}
	})
}

// Its pods are not ready at first.
func TestEvidenceCountsFromWhenThePodsServe(t *testing.T) {
	afterTheRollback(t, func(t *testing.T, c *cluster, _ *engine.Engine) {
		c.redeploy()
		c.change(func() { c.ready = false })
		wait(2 * time.Minute)
		c.untouched(t, "its pods do not serve yet")
		c.change(func() { c.ready = true })
		wait(time.Minute)
		c.untouched(t, "its pods serve for less than a window")
		wait(20 * time.Second)
		if _, weight := c.progress(); weight != "0" {
			t.Errorf("weight %s a window after the pods began to serve; want zero", weight)
		}
	})
}

// No server knows how far the rule looks back.
func TestWithoutAWindowContentThatComesBackSettles(t *testing.T) {
	afterTheRollback(t, func(t *testing.T, c *cluster, _ *engine.Engine) {
		c.redeploy()
		c.change(func() { c.window = 0 })
		wait(6*time.Minute + 30*time.Second)
		c.untouched(t, "BACKOUT_SETTLE is not over")
		wait(time.Minute)
		if _, weight := c.progress(); weight != "0" {
			t.Errorf("weight %s after BACKOUT_SETTLE; want zero", weight)
		}
	})
}

// The leader is another process since the redeployment, which gets the records by its watch.
func TestANewLeaderNoticesContentThatIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.answers, c.window = answers(rollback.AnswerFiring), time.Minute
		first := newEngine(t, c, rollbacktest.Policy(), withPrometheus(c))
		stop := run(t, first)
		deliver(t, first, alert("rollback"))
		wait(time.Minute)
		stop()
		c.redeploy()
		wait(30 * time.Second)
		next := func(leads func(*engine.Options)) (stop func()) {
			e := newEngine(t, c, rollbacktest.Policy(), withPrometheus(c), leads)
			for _, r := range c.copyRecords(rollbacktest.Shop()) {
				e.OnRecord(r)
			}
			return run(t, e)
		}
		asked := len(c.queriedAt)
		stop = next(follower)
		wait(2 * time.Minute)
		stop()
		if _, stored := c.record(rollbacktest.Shop(), 4); stored || len(c.queriedAt) != asked {
			t.Errorf("stored: %t, %d queries by a replica that does not lead; want none", stored, len(c.queriedAt)-asked)
		}
		next(leader)
		wait(80 * time.Second)
		if _, weight := c.progress(); weight != "0" {
			t.Errorf("weight %s a window after the next leader began, want zero", weight)
		}
	})
}

// The content is back, and Prometheus says that its alert is over.
func TestPrometheusIsAskedOnceAboutAnAlertThatIsOver(t *testing.T) {
	afterTheRollback(t, func(t *testing.T, c *cluster, _ *engine.Engine) {
		wait(30 * time.Minute)
		c.change(func() { c.answers = answers(rollback.AnswerQuiet) })
		c.redeploy()
		asked := len(c.queriedAt)
		wait(time.Hour)
		if n := len(c.queriedAt) - asked; n != 1 {
			t.Errorf("%d queries within an hour, want one", n)
		}
		if _, stored := c.record(rollbacktest.Shop(), 4); stored {
			t.Error("there is a record of a revision about which no alert fires")
		}
	})
}

// Without Prometheus, Alertmanager's repeat counts once the revision has settled.
func TestWithoutPrometheusContentThatComesBackWaitsForARepeat(t *testing.T) {
	for name, repeated := range map[string]bool{"repeated": true, "not repeated": false} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
				a := alert("rollback")
				deliver(t, e, a)
				wait(time.Minute)
				c.redeploy()
				wait(2 * time.Minute)
				deliver(t, e, a)
				wait(3 * time.Minute)
				if repeated {
					deliver(t, e, a)
				}
				wait(time.Minute)
				c.untouched(t, "BACKOUT_SETTLE is not over")
				wait(3 * time.Minute)
				_, weight := c.progress()
				if want := map[bool]string{true: "0", false: "20"}[repeated]; weight != want {
					r := c.shopRecord(4)
					t.Errorf("weight %s after BACKOUT_SETTLE, want %s; %s", weight, want, report.Summary(&r))
				}
			})
		})
	}
}

// A release whose newest content is not known bad costs no request, though its alert never ended.
func TestContentThatIsNotBackCostsNoRequest(t *testing.T) {
	afterTheRollback(t, func(t *testing.T, c *cluster, _ *engine.Engine) {
		wait(30 * time.Minute)
		c.upgrade("v4", "Upgrade complete")
		wait(time.Minute)
		reads, queries := c.storedReads, len(c.queriedAt)
		wait(time.Hour)
		if c.storedReads != reads || len(c.queriedAt) != queries {
			t.Errorf("%d reads and %d queries within an hour, want none", c.storedReads-reads, len(c.queriedAt)-queries)
		}
	})
}

// The watches do not cover the release: it is read now and then.
func TestAReleaseThatIsNotCachedIsReadNowAndThen(t *testing.T) {
	afterTheRollback(t, func(t *testing.T, c *cluster, _ *engine.Engine) {
		wait(30 * time.Minute)
		c.change(func() { c.notCached = true })
		reads := c.storedReads
		wait(10 * time.Minute)
		if n := c.storedReads - reads; n > 11 {
			t.Errorf("%d reads within ten minutes, want one a minute at most", n)
		}
		c.redeploy()
		wait(4 * time.Minute)
		if rollbacks, _ := c.progress(); rollbacks != 2 {
			r := c.shopRecord(4)
			t.Errorf("%d rollbacks four minutes after the redeployment, want that of revision 4; %s", rollbacks, report.Summary(&r))
		}
	})
}

// The shed quiets the alert while a Helm operation keeps the rollback waiting: the decision stays.
func TestContentThatIsBackStaysDecidedOnceItIsShed(t *testing.T) {
	afterTheRollback(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		wait(20 * time.Minute) // the cooldown is over
		c.redeploy()
		c.change(func() { c.newest().Status = rollback.StatusPendingUpgrade })
		wait(6 * time.Minute)
		if _, weight := c.progress(); weight != "20" {
			t.Fatalf("weight %s while the pods may be those of the revision before, want 20", weight)
		}
		wait(90 * time.Second)
		if _, weight := c.progress(); weight != "0" {
			t.Fatalf("weight %s once BACKOUT_SETTLE has passed and the upgrade is in progress, want zero", weight)
		}
		over := alert("rollback")
		over.StartsAt, over.Resolved = time.Date(1999, 12, 31, 23, 59, 50, 0, time.UTC), true
		deliver(t, e, over)
		c.change(func() { c.answers = answers(rollback.AnswerQuiet) })
		wait(time.Minute)
		c.change(func() { c.newest().Status = rollback.StatusDeployed })
		wait(time.Minute)
		if rollbacks, _ := c.progress(); rollbacks != 2 {
			r := c.shopRecord(4)
			t.Errorf("%d rollbacks after the upgrade ended, want that of revision 4; %s", rollbacks, report.Summary(&r))
		}
	})
}
