package engine_test

import (
	"slices"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/report"
)

func TestAnAlertThatPrometheusDeniesTouchesNothing(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		received := time.Now().UTC()
		deliver(t, e, alert("rollback"))
		wait(time.Hour)
		if r := c.shopRecord(2); c.rollbacks != 0 || len(c.weightsWritten) != 0 || r.Decision().Verdict != rollback.Unconfirmed {
			t.Errorf("%d rollbacks, weights written %v, %s; want nothing touched", c.rollbacks, c.weightsWritten, report.Summary(&r))
		}
		if len(c.queriedAt) != 1 || !c.queriedAt[0].Equal(received) {
			t.Errorf("queried about %v; want once, about the receipt at %s: a shed quiets an alert", c.queriedAt, received)
		}
	}, func(c *cluster) { c.answers = answers(rollback.AnswerQuiet) })
}

// Prometheus can be reached, and has no rule of that name, or has the alert without a
// level or with a weaker one.
func TestAnAlertThatNoRuleProvesTouchesNothing(t *testing.T) {
	for why, c := range map[string]struct {
		answer rollback.Confirmation
		want   rollback.Verdict
	}{
		"unproven":        {rollback.Confirmation{Answer: rollback.AnswerUnproven, Error: "no server has the rule"}, rollback.Unconfirmed},
		"observe there":   {rollback.Confirmation{Answer: rollback.AnswerFiring, Level: rollback.LevelObserve}, rollback.Observe},
		"no level at all": {rollback.Confirmation{Answer: rollback.AnswerFiring, Level: "nonsense"}, rollback.Observe},
	} {
		t.Run(why, func(t *testing.T) {
			simulate(t, func(t *testing.T, cluster *cluster, e *engine.Engine) {
				deliver(t, e, alert("rollback"))
				wait(time.Hour)
				r := cluster.shopRecord(2)
				if cluster.rollbacks != 0 || len(cluster.weightsWritten) != 0 || r.Decision().Verdict != c.want || r.Closed.IsZero() {
					t.Errorf("%d rollbacks, weights written %v, %s; want nothing touched, %s", cluster.rollbacks, cluster.weightsWritten, report.Summary(&r), c.want)
				}
			}, func(cluster *cluster) { cluster.answers = []rollback.Confirmation{c.answer} })
		})
	}
}

func TestAnAlertThatFiresWithAWeakerLevelShedsOnly(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(time.Hour)
		if r := c.shopRecord(2); c.rollbacks != 0 || c.weight != "0" || !r.Hold.Active() {
			t.Errorf("%d rollbacks, weight %s, %s; want the canary held at zero, as the rule asks", c.rollbacks, c.weight, report.Summary(&r))
		}
	}, func(c *cluster) {
		c.answers = []rollback.Confirmation{{Answer: rollback.AnswerFiring, Level: rollback.LevelShed}}
	})
}

func TestNoDataIsNotBadData(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(time.Second)
		if c.weight != "0" {
			t.Errorf("weight %s while Prometheus cannot be reached; want the shed not to wait for it", c.weight)
		}
		wait(time.Hour)
		r := c.shopRecord(2)
		if c.rollbacks != 0 || r.Decision().Verdict != rollback.Unknown || !r.Decision().NeedsHelp || !r.Hold.Active() {
			t.Errorf("%d rollbacks, %s; want a hold that needs help", c.rollbacks, report.Summary(&r))
		}
	}, func(c *cluster) {
		c.answers = []rollback.Confirmation{{Answer: rollback.AnswerUnknown, Error: "connection refused"}}
	})
}

func TestARollbackWaitsUntilPrometheusAnswers(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(10 * time.Second)
		if rollbacks, weight := c.progress(); rollbacks != 0 || weight != "0" {
			t.Fatalf("%d rollbacks, weight %s while Prometheus does not answer; want none, and 0", rollbacks, weight)
		}
		wait(time.Minute)
		if c.rollbacks != 1 {
			t.Errorf("%d rollbacks after Prometheus confirmed the alert, want 1", c.rollbacks)
		}
		if r := c.shopRecord(2); slices.ContainsFunc(c.queriedAt[:21], func(at time.Time) bool { return !at.Equal(r.Signals[0].Received) }) {
			t.Errorf("queried about %v; want the time of the receipt every time: the shed has quieted the alert since", c.queriedAt[:21])
		}
	}, func(c *cluster) {
		c.answers = answers(append(slices.Repeat([]rollback.Answer{rollback.AnswerUnknown}, 20), rollback.AnswerFiring)...)
	})
}

func TestAShedWaitsAQuarterOfASecondForPrometheusAtMost(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		begun := time.Now()
		var took time.Duration
		c.afterShed = func() { took = time.Since(begun) }
		deliver(t, e, alert("rollback"))
		wait(time.Minute)
		if took == 0 || took > 250*time.Millisecond {
			t.Errorf("the shed followed after %s (0 is never) while Prometheus does not answer, want at most 250ms", took)
		}
	}, func(c *cluster) { c.answers, c.answerTime = answers(rollback.AnswerFiring), time.Hour })
}

func TestAHoldIsConfirmedBeforeItsShed(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(time.Hour)
		if r := c.shopRecord(2); len(c.weightsWritten) != 0 || r.Decision().Verdict != rollback.Unconfirmed {
			t.Errorf("weights written %v, %s; want nothing touched for an alert that Prometheus denies", c.weightsWritten, report.Summary(&r))
		}
	}, bakedRevision, func(c *cluster) { c.answers = answers(rollback.AnswerQuiet) })
}

func TestPrometheusIsQueriedAgainWhileAnAlertSettles(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, settlingAlert())
		wait(3 * time.Minute)
		c.change(func() { c.answers = answers(rollback.AnswerQuiet) })
		wait(20 * time.Minute)
		if r := c.shopRecord(2); len(c.weightsWritten) != 0 || r.Decision().Verdict != rollback.Unconfirmed {
			t.Errorf("weights written %v, %s; want Prometheus queried again, and nothing touched", c.weightsWritten, report.Summary(&r))
		}
	}, func(c *cluster) { c.answers = answers(rollback.AnswerUnknown) })
}
