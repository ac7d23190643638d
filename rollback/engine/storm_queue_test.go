package engine_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

// crowd is a storm of n releases, whose alerts Alertmanager repeats every five minutes.
type crowd struct {
	c      *cluster
	e      *engine.Engine
	alerts []rollback.Alert
}

func newCrowd(t *testing.T, c *cluster, e *engine.Engine, n int) crowd {
	t.Helper()
	s := crowd{c, e, addReleases(c, n)}
	deliver(t, e, s.alerts...)
	return s
}

// pass lets time pass, with the repeats of the alerts.
func (s crowd) pass(t *testing.T, minutes int) {
	t.Helper()
	for range minutes / 5 {
		wait(5 * time.Minute)
		deliver(t, s.e, s.alerts...)
	}
	wait(time.Duration(minutes%5) * time.Minute)
}

// count returns how many releases were shed, and how many rollbacks began.
func (s crowd) count() (shed, rolledBack int) {
	for _, a := range s.alerts {
		r, _ := s.c.record(keyOf(a), 2)
		if r.Shed.Succeeded() {
			shed++
		}
		if r.Rollback != nil {
			rolledBack++
		}
	}
	return shed, rolledBack
}

// The outage and its alerts go on.
func TestAStormThatLastsRollsNothingBack(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		s := newCrowd(t, c, e, 50)
		s.pass(t, 9)
		if shed, rolledBack := s.count(); shed != 0 || rolledBack != 0 {
			t.Errorf("%d sheds, %d rollbacks in the storm, want none", shed, rolledBack)
		}
		s.pass(t, 2)
		if shed, rolledBack := s.count(); shed != 50 || rolledBack != 0 {
			t.Errorf("%d sheds, %d rollbacks in the 11th minute, want 50 and none yet: the alerts still fire, and no new release has one", shed, rolledBack)
		}
		s.pass(t, 4)
		if _, rolledBack := s.count(); rolledBack != 1 {
			t.Errorf("%d of 50 releases rolled back in the 15th minute, want one: the others wait until it has recovered", rolledBack)
		}
	})
}

// A release that joins prolongs the storm, alerts that go on firing do not.
func TestANewReleaseProlongsAStorm(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		s := newCrowd(t, c, e, 5)
		s.pass(t, 8)
		deliver(t, e, alert("rollback"))
		s.pass(t, 9)
		if shed, _ := s.count(); shed != 0 {
			t.Errorf("%d sheds 9 minutes after another release joined the storm, want none", shed)
		}
		s.pass(t, 3)
		if shed, _ := s.count(); shed != 5 {
			t.Errorf("%d sheds 12 minutes after the last release joined the storm, want 5", shed)
		}
	})
}

func TestMoreReleasesThanThatWithinAnHourAreAStorm(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		alerts := addReleases(c, 6)
		for i, a := range alerts {
			a.StartsAt = time.Now()
			c.change(func() { c.history[keyOf(a)][0].Deployed = time.Now().Add(-time.Minute) })
			deliver(t, e, a)
			wait(30 * time.Second)
			r, _ := c.record(keyOf(a), 2)
			if storm := i == 5; (r.Decision().Verdict == rollback.Storming) != storm {
				t.Errorf("release %d of one every 9 minutes: verdict %s", i+1, r.Decision().Verdict)
			}
			wait(9*time.Minute - 30*time.Second)
		}
	})
}

func TestAStormIsMeasuredByTheOptedInReleases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		e := newEngine(t, c, rollbacktest.Policy(), func(o *engine.Options) { o.OptedIn = func() int { return 1000 } })
		run(t, e)
		deliver(t, e, addReleases(c, 9)...)
		wait(time.Minute)
		if c.rollbacks != 9 {
			t.Errorf("%d rollbacks, want 9: of 1000 releases, 10 are a storm", c.rollbacks)
		}
	})
}

// onceRecovered has Prometheus say that the alert of a release is over once it was rolled back.
func onceRecovered(c *cluster, recovers bool) {
	c.trafficRate = 1
	c.firing = func(k rollback.Key) rollback.Answer {
		if recovers && c.history[k][0].Number > 2 {
			return rollback.AnswerQuiet
		}
		return rollback.AnswerFiring
	}
}

func TestTheRollbacksOfAStormFollowTheFirstThatRecovers(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		s := newCrowd(t, c, e, 6)
		s.pass(t, 13)
		if shed, rolledBack := s.count(); shed != 6 || rolledBack != 1 {
			t.Errorf("%d sheds, %d rollbacks 3 minutes after the storm; want 6 and one", shed, rolledBack)
		}
		s.pass(t, 5)
		if _, rolledBack := s.count(); rolledBack != 6 {
			t.Errorf("%d rollbacks after the first release has recovered, want 6", rolledBack)
		}
	}, func(c *cluster) { c.answers = answers(rollback.AnswerFiring); onceRecovered(c, true) })
}

func TestThreeRollbacksOfAStormThatDoNotHelpStopTheOthers(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		s := newCrowd(t, c, e, 6)
		s.pass(t, 15)
		for _, want := range []int{1, 2, 3, 3, 3} {
			if shed, rolledBack := s.count(); shed != 6 || rolledBack != want {
				t.Errorf("%d sheds, %d rollbacks; want 6 and %d: each that does not recover within BACKOUT_VERIFY_LIMIT gives way to the next, up to three", shed, rolledBack, want)
			}
			s.pass(t, 10)
		}
		calls := 0
		for _, a := range s.alerts {
			if r, _ := c.record(keyOf(a), 2); r.Rollback == nil && r.Decision().NeedsHelp {
				calls++
				if want := fmt.Sprintf("backout rollback %s --to 1", r.Key); r.Decision().Command.String() != want {
					t.Errorf("the command is %q, want %q", r.Decision().Command, want)
				}
			}
		}
		if calls != 1 {
			t.Errorf("%d calls for help about the releases that wait, want one", calls)
		}
	}, func(c *cluster) { c.answers = answers(rollback.AnswerFiring); onceRecovered(c, false) })
}

// Prometheus says at the end of the storm that the alerts are over.
func TestAStormThatIsOverTouchesNothing(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		s := newCrowd(t, c, e, 6)
		wait(2 * time.Minute)
		c.change(func() { c.answers = answers(rollback.AnswerQuiet) })
		wait(30 * time.Minute)
		if shed, rolledBack := s.count(); shed != 0 || rolledBack != 0 {
			t.Errorf("%d sheds, %d rollbacks after a storm whose alerts are over, want none", shed, rolledBack)
		}
	}, func(c *cluster) { c.answers = answers(rollback.AnswerFiring) })
}

// A process begins to lead when all canaries are shed and the rollbacks queue.
func TestANewLeaderKeepsTheQueueOfAStorm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.answers = answers(rollback.AnswerFiring)
		onceRecovered(c, false)
		e := newEngine(t, c, rollbacktest.Policy(), withPrometheus(c))
		stop := run(t, e)
		s := newCrowd(t, c, e, 6)
		s.pass(t, 11)
		stop()
		wait(5 * time.Minute)
		if shed, rolledBack := s.count(); shed != 6 || rolledBack != 0 {
			t.Fatalf("%d sheds, %d rollbacks before the first leader stops; want 6 and none", shed, rolledBack)
		}
		next := newEngine(t, c, rollbacktest.Policy(), withPrometheus(c))
		c.change(func() { c.saveTime = 10 * time.Millisecond })
		for _, a := range s.alerts {
			next.Enqueue(keyOf(a)) // before the open records are read
		}
		run(t, next)
		wait(time.Minute)
		if _, rolledBack := s.count(); rolledBack != 1 {
			t.Errorf("%d rollbacks by the next leader, want one", rolledBack)
		}
	})
}
