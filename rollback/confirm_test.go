package rollback_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/rollback"
)

func answer(a rollback.Answer) rollback.Confirmation { return rollback.Confirmation{Answer: a} }

func TestAnAlertThatPrometheusDeniesTouchesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.answers = []rollback.Confirmation{answer(rollback.AnswerQuiet)}
		e := newEngine(t, c, policy(), asking(c))
		run(t, e)
		received := time.Now().UTC()
		accept(t, e, alert("rollback"))
		pass(time.Hour)
		if r, _ := c.record(shop(), 2); c.rollbacks != 0 || len(c.raised) != 0 || r.Decision().Verdict != rollback.Unconfirmed {
			t.Errorf("%d rollbacks, weights %v, %s; want nothing touched", c.rollbacks, c.raised, r.Summary())
		}
		if len(c.asked) != 1 || !c.asked[0].Equal(received) {
			t.Errorf("asked about %v; want once, as of the receipt at %s: a shed quiets an alert", c.asked, received)
		}
	})
}

func TestNoDataIsNotBadData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.answers = []rollback.Confirmation{{Answer: rollback.AnswerUnknown, Error: "connection refused"}}
		e := newEngine(t, c, policy(), asking(c))
		run(t, e)
		accept(t, e, alert("rollback"))
		pass(time.Second)
		if c.weight != "0" {
			t.Errorf("weight %s with a Prometheus out of reach; the shed does not wait for it", c.weight)
		}
		pass(time.Hour)
		r, _ := c.record(shop(), 2)
		if c.rollbacks != 0 || r.Decision().Verdict != rollback.Unknown || !r.Decision().People || !r.Hold.Lasts() {
			t.Errorf("%d rollbacks, %s; want a hold and people", c.rollbacks, r.Summary())
		}
	})
}

func TestARollbackWaitsForPrometheusToComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		for range 20 {
			c.answers = append(c.answers, answer(rollback.AnswerUnknown))
		}
		c.answers = append(c.answers, answer(rollback.AnswerFiring))
		e := newEngine(t, c, policy(), asking(c))
		run(t, e)
		accept(t, e, alert("rollback"))
		pass(10 * time.Second)
		if rollbacks, weight := c.done(); rollbacks != 0 || weight != "0" {
			t.Fatalf("%d rollbacks, weight %s while Prometheus is away; want none, and 0", rollbacks, weight)
		}
		pass(time.Minute)
		if c.rollbacks != 1 {
			t.Errorf("%d rollbacks after Prometheus confirmed the alert, want 1", c.rollbacks)
		}
		if r, _ := c.record(shop(), 2); slices.ContainsFunc(c.asked[:21], func(at time.Time) bool { return !at.Equal(r.Accusations[0].Received) }) {
			t.Errorf("asked as of %v; want the receipt every time: the shed has quieted the alert since", c.asked[:21])
		}
	})
}

func TestAShedWaitsForPrometheusAQuarterOfASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.answers, c.answerAfter = []rollback.Confirmation{answer(rollback.AnswerFiring)}, time.Hour
		e := newEngine(t, c, policy(), asking(c))
		run(t, e)
		begun := time.Now()
		var took time.Duration
		c.afterShed = func() { took = time.Since(begun) }
		accept(t, e, alert("rollback"))
		pass(time.Minute)
		if took == 0 || took > 250*time.Millisecond {
			t.Errorf("the shed came after %s (0 is never) with a Prometheus that does not answer, want at most 250ms", took)
		}
	})
}

func TestWhetherItHelpedIsJudged(t *testing.T) {
	firing, quiet := answer(rollback.AnswerFiring), answer(rollback.AnswerQuiet)
	for name, c := range map[string]struct {
		then    rollback.Confirmation
		traffic float64
		want    rollback.Outcome
	}{
		"quiet, with traffic":    {quiet, 3, rollback.Recovered},
		"quiet, without traffic": {quiet, 0.05, rollback.Restored},
		"it fires on":            {firing, 3, rollback.NotRecovered},
		"nobody can say":         {answer(rollback.AnswerUnknown), 3, rollback.NotRecovered},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cl := newCluster()
				cl.answers, cl.traffic = []rollback.Confirmation{firing, c.then}, c.traffic
				e := newEngine(t, cl, policy(), asking(cl))
				run(t, e)
				accept(t, e, alert("rollback"))
				pass(time.Hour)
				if r, _ := cl.record(shop(), 2); r.Outcome != c.want || r.Closed.IsZero() {
					t.Errorf("outcome %q, %s; want %q and the record closed", r.Outcome, r.Summary(), c.want)
				}
			})
		})
	}
}

func TestWithoutPrometheusTheResolveIsTheHint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		e := newEngine(t, c, policy())
		run(t, e)
		a := alert("rollback")
		accept(t, e, a)
		pass(time.Minute)
		a.Resolved = true
		accept(t, e, a)
		pass(5 * time.Minute)
		if r, _ := c.record(shop(), 2); r.Outcome != rollback.Restored || r.Closed.IsZero() {
			t.Errorf("outcome %q, %s; want it restored, unproven", r.Outcome, r.Summary())
		}
	})
}

func TestAShedThatWasNotNotedIsNotForgottenWhenTheAlertResolves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		// The process died between the patch and the note; the quiet canary resolves
		// the alert before another one leads.
		first := newEngine(t, c, policy())
		a := alert("rollback")
		accept(t, first, a)
		c.now(func(c *cluster) { c.weight = "0" })
		pass(7 * time.Second)
		a.Resolved = true
		e := newEngine(t, c, policy())
		accept(t, e, a)
		run(t, e)
		pass(time.Minute)
		if r, _ := c.record(shop(), 2); c.rollbacks != 1 || !r.Shed.Succeeded() {
			t.Errorf("%d rollbacks, %s; want what was claimed to be finished", c.rollbacks, r.Summary())
		}
	})
}

func TestAShedThatWasNeverBegunIsNotClaimed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.answers = []rollback.Confirmation{answer(rollback.AnswerQuiet)}
		e := newEngine(t, c, policy(), asking(c))
		run(t, e)
		accept(t, e, alert("rollback"))
		pass(time.Minute)
		if r, _ := c.record(shop(), 2); r.Shed != nil {
			t.Errorf("the record claims a shed that Prometheus prevented: %+v", r.Shed)
		}
	})
}
