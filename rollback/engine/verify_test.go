package engine_test

import (
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/report"
)

func TestTheOutcomeFollowsFromTheAlertAndTheTraffic(t *testing.T) {
	for name, tc := range map[string]struct {
		after       rollback.Answer
		trafficRate float64
		want        rollback.Outcome
	}{
		"quiet, with traffic":    {rollback.AnswerQuiet, 3, rollback.OutcomeRecovered},
		"quiet, without traffic": {rollback.AnswerQuiet, 0.05, rollback.OutcomeRestored},
		"still firing":           {rollback.AnswerFiring, 3, rollback.OutcomeNotRecovered},
		"unknown":                {rollback.AnswerUnknown, 3, rollback.OutcomeNotRecovered},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
				deliver(t, e, alert("rollback"))
				wait(time.Hour)
				if r := c.shopRecord(2); r.Outcome != tc.want || r.Closed.IsZero() {
					t.Errorf("outcome %q, %s; want %q and the record closed", r.Outcome, report.Summary(&r), tc.want)
				}
			}, func(c *cluster) {
				c.answers, c.trafficRate = answers(rollback.AnswerFiring, tc.after), tc.trafficRate
			})
		})
	}
}

// Slow rules have been evaluated since the time about which Prometheus is asked, and
// that time is never before the verification is due.
func TestVerifyAsksAboutATimeHalfAMinuteAgo(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(time.Hour)
		restored := c.shopRecord(2).Restore.Done
		due, last := restored.Add(2*time.Minute), restored.Add(10*time.Minute-30*time.Second)
		for i, at := range c.queriedAt[1:8] { // the first is before the shed
			if !at.Equal(due) {
				t.Errorf("query %d, %s after the verification was due, is about %s, want %s", i, time.Duration(i)*5*time.Second, at, due)
			}
		}
		if got := c.queriedAt[len(c.queriedAt)-1]; !got.Equal(last) {
			t.Errorf("the last query is about %s, want %s", got, last)
		}
	}, func(c *cluster) { c.answers = answers(rollback.AnswerFiring) })
}

func TestWithoutPrometheusAResolvedAlertMeansRestored(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		a := alert("rollback")
		deliver(t, e, a)
		wait(time.Minute)
		a.Resolved = true
		deliver(t, e, a)
		wait(5 * time.Minute)
		if r := c.shopRecord(2); r.Outcome != rollback.OutcomeRestored || r.Closed.IsZero() {
			t.Errorf("outcome %q, %s; want it restored, unproven", r.Outcome, report.Summary(&r))
		}
	})
}
