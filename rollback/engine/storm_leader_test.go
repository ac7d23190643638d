package engine_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

// Some record of a namespace cannot be read.
func TestANewLeaderReadsTheQueueOfAStormInSpiteOfAnUnreadableRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.answers = answers(rollback.AnswerFiring)
		onceRecovered(c, false)
		e := newEngine(t, c, rollbacktest.Policy(), withPrometheus(c))
		stop := run(t, e)
		s := newCrowd(t, c, e, 6)
		s.pass(t, 11)
		stop()
		c.change(func() { c.openError = errAPIServer })
		run(t, newEngine(t, c, rollbacktest.Policy(), withPrometheus(c)))
		wait(5 * time.Minute)
		if _, rolledBack := s.count(); rolledBack != 1 {
			t.Errorf("%d rollbacks by the next leader, want one: it knows the queue", rolledBack)
		}
	})
}

// A replica that does not lead does not know the queue: it stores repeats, and decides nothing.
func TestAFollowerLeavesTheQueueOfAStormToTheLeader(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		s := newCrowd(t, c, e, 6)
		s.pass(t, 11)
		f := newEngine(t, c, rollbacktest.Policy(), withPrometheus(c), follower)
		before := make(map[rollback.Key]rollback.Decision)
		for _, a := range s.alerts {
			r, _ := c.record(keyOf(a), 2)
			before[r.Key] = r.Decision()
		}
		deliver(t, f, s.alerts...)
		for _, a := range s.alerts {
			if r, _ := c.record(keyOf(a), 2); !r.Decision().Same(before[r.Key]) {
				t.Errorf("%s: the follower decided %+v, want what the leader did: %+v", r.Key, r.Decision(), before[r.Key])
			}
		}
	}, func(c *cluster) { c.answers = answers(rollback.AnswerFiring); onceRecovered(c, false) })
}

func TestTheQueueOfAStormIsReadNowAndThen(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		s := newCrowd(t, c, e, 6)
		s.pass(t, 15)
		reads := c.storedReads
		wait(time.Minute)
		// One release is being verified. Of each other, a read and a look at its operation, twice
		// in 15 seconds: by the sweep and by its own clock.
		if n := c.storedReads - reads; n > 6*4*4 {
			t.Errorf("%d reads of six releases within a minute, five of which wait for the first one; want 16 of each at most", n)
		}
	}, func(c *cluster) { c.answers = answers(rollback.AnswerFiring); onceRecovered(c, false) })
}

// The record of the release whose rollback comes first is deleted, with its namespace for example.
func TestAReleaseThatIsGoneHasNoPlaceInTheQueueOfAStorm(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		s := newCrowd(t, c, e, 6)
		s.pass(t, 15)
		for _, a := range s.alerts {
			if r, _ := c.record(keyOf(a), 2); r.Rollback != nil {
				c.change(func() { delete(c.records, r.Key); delete(c.history, r.Key) })
				e.OnRecordGone(r.Key, 2)
			}
		}
		wait(time.Minute)
		if _, rolledBack := s.count(); rolledBack != 1 {
			t.Errorf("%d rollbacks of the other releases, want one: the first release is gone", rolledBack)
		}
	}, func(c *cluster) { c.answers = answers(rollback.AnswerFiring); onceRecovered(c, false) })
}
