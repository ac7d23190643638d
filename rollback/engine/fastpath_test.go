package engine_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

func TestAShedIsPreparedWhileItsRecordIsStored(t *testing.T) {
	for name, role := range map[string]func(*engine.Options){"leader": leader, "follower": follower} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				c.saveTime, c.observeTime, c.answerTime = 100*time.Millisecond, 100*time.Millisecond, 100*time.Millisecond
				c.answers = answers(rollback.AnswerFiring)
				e := newEngine(t, c, rollbacktest.Policy(), withPrometheus(c), role)
				run(t, e)
				begun := time.Now()
				var took atomic.Int64
				c.afterShed = func() { took.Store(int64(time.Since(begun))) }
				deliver(t, e, alert("shed"))
				wait(time.Minute)
				if got := time.Duration(took.Load()); got != 100*time.Millisecond {
					t.Errorf("the shed followed after %s (0 is never); want it as soon as the record is stored, with nothing left to wait for", got)
				}
				if r := c.shopRecord(2); r.Signals[0].Confirmation == nil || len(c.queriedAt) != 1 {
					t.Errorf("Prometheus answered %v to %d queries; want one answer, stored with the shed", r.Signals[0].Confirmation, len(c.queriedAt))
				}
			})
		})
	}
}

func TestAShedOutlastsTheRequestOfItsWebhook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.observeTime = 100 * time.Millisecond
		e := newEngine(t, c, rollbacktest.Policy(), follower)
		run(t, e)
		request, end := context.WithCancel(t.Context())
		if err := e.Accept(request, []rollback.Alert{alert("shed")}); err != nil {
			t.Fatal(err)
		}
		end()
		wait(time.Minute)
		if r := c.shopRecord(2); c.weight != "0" || !r.Shed.Succeeded() {
			t.Errorf("weight %s, %s; want the shed done after the webhook is answered", c.weight, report.Summary(&r))
		}
	})
}

func TestADecisionFromBeforeRunIsShedWhenRunStarts(t *testing.T) {
	for name, tc := range map[string]struct {
		age  time.Duration
		shed bool
	}{
		"young enough": {249 * time.Millisecond, true},
		"too old":      {250 * time.Millisecond, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				e := newEngine(t, c, rollbacktest.Policy(), follower)
				deliver(t, e, alert("shed"))
				wait(tc.age)
				if len(c.weightsWritten) != 0 {
					t.Fatalf("weights written %v before Run", c.weightsWritten)
				}
				started := time.Now()
				run(t, e)
				wait(time.Minute)
				r := c.shopRecord(2)
				if shed := r.Shed.Succeeded() && r.Shed.Done.Equal(started) && c.weight == "0"; shed != tc.shed {
					t.Errorf("shed when Run starts: %v (%+v, weight %s), want %v", shed, r.Shed, c.weight, tc.shed)
				}
				if !tc.shed && (len(c.weightsWritten) != 0 || r.Shed.Tried()) {
					t.Errorf("weights written %v, %s; want the shed left to the leader", c.weightsWritten, report.Summary(&r))
				}
			})
		})
	}
}

func TestANewerDecisionReplacesThePendingShedOfAnOlderOne(t *testing.T) {
	t.Run("the newer one sheds too", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster()
			var sheds atomic.Int32
			c.beforeShed = func() { sheds.Add(1) }
			e := newEngine(t, c, rollbacktest.Policy(), follower)
			deliver(t, e, alert("shed"))
			deliver(t, e, alert("rollback"))
			run(t, e)
			wait(time.Minute)
			if r := c.shopRecord(2); sheds.Load() != 1 || !r.Shed.Succeeded() || !r.Decision().Rollback {
				t.Errorf("%d sheds, %s; want one, by the newer decision", sheds.Load(), report.Summary(&r))
			}
		})
	})
	t.Run("the newer one does not shed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster()
			c.notCached = true // both decisions are taken on what was read, and not confirmed
			e := newEngine(t, c, rollbacktest.Policy(), follower)
			deliver(t, e, alert("shed"))
			c.paused = "everything is paused by ann"
			deliver(t, e, alert("rollback"))
			run(t, e)
			wait(time.Minute)
			if r := c.shopRecord(2); len(c.weightsWritten) != 0 || r.Decision().Verdict != rollback.Paused {
				t.Errorf("weights written %v, %s; want no shed by the older decision", c.weightsWritten, report.Summary(&r))
			}
		})
	})
}

func TestRunReturnsAfterTheShedsThatWereBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.answerTime = 100 * time.Millisecond
		c.answers = answers(rollback.AnswerFiring)
		e := newEngine(t, c, rollbacktest.Policy(), withPrometheus(c), follower)
		stop := run(t, e)
		deliver(t, e, alert("shed"))
		wait(50 * time.Millisecond)
		stop() // before Prometheus answers: the shed is not done
		if r := c.shopRecord(2); c.weight != "0" || !r.Shed.Succeeded() {
			t.Errorf("weight %s, %+v when Run returned; want the shed done and recorded", c.weight, r.Shed)
		}
	})
}

func TestNoShedIsBegunAfterRunHasReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		e := newEngine(t, c, rollbacktest.Policy())
		run(t, e)()
		deliver(t, e, alert("shed"))
		wait(time.Minute)
		if r := c.shopRecord(2); len(c.weightsWritten) != 0 || r.Shed.Tried() || !r.Closed.IsZero() {
			t.Errorf("weights written %v, %s; want an open record for the next process", c.weightsWritten, report.Summary(&r))
		}
	})
}

func TestAShedDoesNotWaitForRollbacksOfOtherReleases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.rollbackTime = 2 * time.Minute
		p := rollbacktest.Policy()
		p.StormReleases = 100
		registry := prometheus.NewRegistry()
		e := newEngine(t, c, p, func(o *engine.Options) { o.Registerer = registry })
		run(t, e)
		alerts := addReleases(c, 12)
		deliver(t, e, alerts[:8]...)
		wait(time.Second)
		if err := testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP backout_releases_in_work Releases whose records are being worked on.
# TYPE backout_releases_in_work gauge
backout_releases_in_work 6
`), "backout_releases_in_work"); err != nil {
			t.Fatalf("not every place of the namespace is taken: %v", err)
		}
		delivered := time.Now()
		deliver(t, e, alerts[8:]...)
		wait(time.Second)
		for i, a := range alerts {
			r, _ := c.record(keyOf(a), 2)
			if !r.Shed.Succeeded() || r.Rollback.Finished() {
				t.Errorf("%s; want every canary out of rotation while eight rollbacks are in progress", report.Summary(&r))
			}
			if i >= 8 && (r.Rollback != nil || !r.Shed.Done.Equal(delivered)) {
				t.Errorf("%s: shed %s after the alert; want it at once, though no worker is free", r.Key, r.Shed.Done.Sub(delivered))
			}
		}
		wait(10 * time.Minute)
		if c.rollbacks != 12 {
			t.Errorf("%d rollbacks in the end, want 12", c.rollbacks)
		}
	})
}

func TestACachedDecisionIsConfirmedBeforeTheShed(t *testing.T) {
	for name, tc := range map[string]struct {
		since func(t *testing.T, c *cluster)
		want  rollback.Verdict
	}{
		"an operator has paused backout": {func(_ *testing.T, c *cluster) { c.paused = "everything is paused by ann" }, rollback.Paused},
		"another replica has acted on the same alert at an older revision": {func(t *testing.T, c *cluster) {
			storeRecord(t, c, rollbackToV2(), func(r *rollback.Record) {
				r.Revision, r.UID = 1, "uid-1"
				r.Signals[0].Fingerprint, r.Signals[0].StartsAt = "e1-rollback", alert("rollback").StartsAt
				r.Shed, r.Closed = doneStep(), time.Now()
			})
		}, rollback.Handled},
		"an operator has lifted the hold": {func(t *testing.T, c *cluster) {
			storeRecord(t, c, rollbackToV2(), liftHold)
		}, rollback.Handled},
		"Helm uninstalls the release": {func(_ *testing.T, c *cluster) {
			c.newest().Status = rollback.StatusUninstalling
		}, rollback.UnknownRelease},
	} {
		for role, option := range map[string]func(*engine.Options){"leader": leader, "follower": follower} {
			t.Run(name+", "+role, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					c := newCluster()
					c.freezeCache()
					tc.since(t, c)
					e := newEngine(t, c, rollbacktest.Policy(), option)
					run(t, e)
					deliver(t, e, alert("rollback"))
					wait(time.Minute)
					r := c.shopRecord(2)
					if len(c.weightsWritten) != 0 || c.rollbacks != 0 {
						t.Errorf("weights written %v, %d rollbacks, %s; want nothing touched", c.weightsWritten, c.rollbacks, report.Summary(&r))
					}
					if got := r.Decision().Verdict; role == "leader" && got != tc.want && tc.want != rollback.Handled {
						t.Errorf("the verdict is %s, want %s", got, tc.want)
					}
				})
			})
		}
	}
}

func TestNoShedForARecordThatWasClosedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.beforeShed = func() {
			r := c.shopRecord(2)
			r.Closed = time.Now()
			if _, err := c.Save(t.Context(), r); err != nil {
				t.Error(err)
			}
		}
		e := newEngine(t, c, rollbacktest.Policy(), follower)
		run(t, e)
		deliver(t, e, alert("shed"))
		wait(time.Minute)
		if len(c.weightsWritten) != 0 {
			t.Errorf("weights written %v; want none for a closed record", c.weightsWritten)
		}
	})
}

func TestAReplicaThatCannotReadPausesDoesNotShed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.pauseErrors = []error{errAPIServer}
		e := newEngine(t, c, rollbacktest.Policy(), follower)
		run(t, e)
		deliver(t, e, alert("shed"))
		wait(time.Minute)
		if r := c.shopRecord(2); len(c.weightsWritten) != 0 || r.Shed.Succeeded() {
			t.Errorf("weights written %v, %s; want the shed left to a replica that knows whether backout is paused", c.weightsWritten, report.Summary(&r))
		}
	})
}
