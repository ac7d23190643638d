package rollback_test

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/rollback"
)

func TestAShedIsPreparedWhileItsRecordIsStored(t *testing.T) {
	for name, leads := range map[string]func(*rollback.Options){"the leader": func(*rollback.Options) {}, "another replica": following} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				c.saveTime, c.lookTime, c.answerAfter = 100*time.Millisecond, 100*time.Millisecond, 100*time.Millisecond
				c.answers = []rollback.Confirmation{answer(rollback.AnswerFiring)}
				e := newEngine(t, c, policy(), asking(c), leads)
				run(t, e)
				begun := time.Now()
				var took atomic.Int64
				c.afterShed = func() { took.Store(int64(time.Since(begun))) }
				accept(t, e, alert("shed"))
				pass(time.Minute)
				if got := time.Duration(took.Load()); got != 100*time.Millisecond {
					t.Errorf("the shed came after %s (0 is never); want it when the record was stored, with nothing to wait for", got)
				}
				if r, _ := c.record(shop(), 2); r.Accusations[0].Confirmation == nil || len(c.asked) != 1 {
					t.Errorf("Prometheus' answer is %v after it was asked %d times; want it stored with the shed", r.Accusations[0].Confirmation, len(c.asked))
				}
			})
		})
	}
}

func TestAShedWaitsForNoRollbackOfAnotherRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.rollbackTime = 2 * time.Minute
		p := policy()
		p.StormReleases = 100
		e := newEngine(t, c, p)
		run(t, e)
		alerts := crowd(c, 12)
		accept(t, e, alerts[:8]...)
		pass(10 * time.Second)
		accept(t, e, alerts[8:]...)
		pass(10 * time.Second)
		for _, a := range alerts {
			k := rollback.Key{Namespace: a.Labels["namespace"], Release: a.Labels["release"]}
			if r, _ := c.record(k, 2); !r.Shed.Succeeded() || r.Rollback.Finished() {
				t.Errorf("%s: want every canary out of the traffic while eight rollbacks are on their way", r.Summary())
			}
		}
		pass(10 * time.Minute)
		if c.rollbacks != 12 {
			t.Errorf("%d rollbacks, want 12 in the end", c.rollbacks)
		}
	})
}

func TestWhatIsDecidedOnAnOldStateIsNotStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		opened(t, c, acting(), func(r *rollback.Record) {
			now := time.Now()
			r.Closed, r.Shed = now, &rollback.Step{Started: now, Done: now, Attempts: 1}
			r.Hold = &rollback.Hold{Since: now, Ended: now, Lifted: true}
		})
		c.behind = true
		e := newEngine(t, c, policy())
		run(t, e)
		accept(t, e, alert("rollback"))
		pass(time.Hour)
		if r, _ := c.record(shop(), 2); len(c.raised) != 0 || c.rollbacks != 0 || r.Closed.IsZero() {
			t.Errorf("weights %v, %d rollbacks, %s; a person has lifted the hold, and the API server's cache has not heard of it yet",
				c.raised, c.rollbacks, r.Summary())
		}
	})
}
