package engine_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
)

func TestAStormTouchesNothing(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, addReleases(c, 5)...)
		wait(time.Minute)
		if c.rollbacks != 0 || len(c.weightsWritten) != 0 {
			t.Errorf("%d rollbacks, weights written %v in a storm of 5 releases; want nothing touched", c.rollbacks, c.weightsWritten)
		}
		for k := range c.records {
			if r, _ := c.record(k, 2); !r.Decision().RecheckAt.Equal(r.Opened.Add(10 * time.Minute)) {
				t.Errorf("%s is decided again at %s, want when the storm is over, 10 minutes after %s", k, r.Decision().RecheckAt, r.Opened)
			}
		}
	})
}

func TestFourReleasesAreNotAStorm(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, addReleases(c, 4)...)
		wait(time.Minute)
		if c.rollbacks != 4 {
			t.Errorf("%d rollbacks, want 4", c.rollbacks)
		}
	})
}

func TestStaleAlertsMakeNoStorm(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		stale := addReleases(c, 4)
		for i := range stale {
			stale[i].Labels["version"] = "v2"
		}
		deliver(t, e, append(stale, alert("rollback"))...)
		wait(time.Minute)
		if c.rollbacks != 1 {
			t.Errorf("%d rollbacks, together with four alerts about replaced versions, want 1", c.rollbacks)
		}
	})
}

func TestObservedAlertsMakeNoStorm(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		observed := addReleases(c, 4)
		for i := range observed {
			// They began before the revision, so that they settle first.
			observed[i].Labels["backout"], observed[i].StartsAt = "observe", time.Now().Add(-10*time.Minute)
			delete(observed[i].Labels, "version")
		}
		deliver(t, e, append(observed, alert("rollback"))...)
		wait(time.Minute)
		if c.rollbacks != 1 {
			t.Errorf("%d rollbacks, together with four alerts that only observe, want 1", c.rollbacks)
		}
	})
}

// answersTo has Prometheus give that answer about the releases of the alerts, and has the
// engine get the records that are saved.
func answersTo(c *cluster, e *engine.Engine, answer rollback.Confirmation, alerts []rollback.Alert) {
	c.change(func() {
		c.answerTo, c.saved = make(map[rollback.Key]rollback.Confirmation), e.OnRecord
		for _, a := range alerts {
			c.answerTo[keyOf(a)] = answer
		}
	})
}

// Prometheus confirms the fifth release's alert, and none of the others.
func TestAlertsThatPrometheusDoesNotConfirmMakeNoStorm(t *testing.T) {
	for name, answer := range map[string]rollback.Confirmation{
		"quiet":         {Answer: rollback.AnswerQuiet},
		"unproven":      {Answer: rollback.AnswerUnproven, Error: "no server has the rule"},
		"observe there": {Answer: rollback.AnswerFiring, Level: rollback.LevelObserve},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
				others := addReleases(c, 4)
				answersTo(c, e, answer, others)
				deliver(t, e, others...)
				wait(time.Second)
				deliver(t, e, others...)
				deliver(t, e, alert("rollback"))
				wait(time.Second)
				if rollbacks, _ := c.progress(); rollbacks != 1 {
					t.Errorf("%d rollbacks a second after the real alert, want 1: four alerts that Prometheus does not confirm are no storm", rollbacks)
				}
			}, func(c *cluster) { c.answers = answers(rollback.AnswerFiring) })
		})
	}
}

// Prometheus cannot be asked at first. Until it can, the alerts count.
func TestAStormIsOverWhenPrometheusDeniesItsAlerts(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		others := addReleases(c, 4)
		answersTo(c, e, rollback.Confirmation{Answer: rollback.AnswerUnknown, Error: "connection refused"}, others)
		deliver(t, e, others...)
		deliver(t, e, alert("rollback"))
		wait(20 * time.Second)
		if r := c.shopRecord(2); c.rollbacks != 0 || r.Decision().Verdict != rollback.Storming {
			t.Fatalf("%d rollbacks, verdict %s; want a storm: alerts that Prometheus could not be asked about count", c.rollbacks, r.Decision().Verdict)
		}
		answersTo(c, e, rollback.Confirmation{Answer: rollback.AnswerQuiet}, others)
		wait(20 * time.Second)
		if rollbacks, _ := c.progress(); rollbacks != 1 {
			t.Errorf("%d rollbacks soon after Prometheus denied the others, want 1: the storm is over", rollbacks)
		}
	}, func(c *cluster) { c.answers = answers(rollback.AnswerFiring) })
}

// A client that may write ConfigMaps can write records, too: of releases that are not opted
// in, and of any time. Neither makes a storm that never ends.
func TestForgedRecordsMakeNoEndlessStorm(t *testing.T) {
	for name, forge := range map[string]func(i int) (rollback.Key, time.Time){
		"not opted in": func(i int) (rollback.Key, time.Time) {
			return rollback.Key{Namespace: "kube-system", Release: fmt.Sprintf("forged-%d", i)}, time.Now()
		},
		"of the future": func(i int) (rollback.Key, time.Time) {
			return rollback.Key{Namespace: "canary-demo", Release: fmt.Sprintf("forged-%d", i)}, time.Now().AddDate(50, 0, 0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
				for i := range 6 {
					k, at := forge(i)
					e.OnRecord(rollback.Record{
						Key: k, Revision: 1, UID: "forged", Opened: at, Decisions: []rollback.Decision{{Verdict: rollback.Act}},
						Signals: []rollback.Signal{{Level: rollback.LevelRollback, Received: at}},
					})
				}
				if name == "of the future" {
					wait(time.Hour)
				}
				deliver(t, e, alert("rollback"))
				wait(time.Minute)
				if c.rollbacks != 1 {
					t.Errorf("%d rollbacks, in spite of the forged records,, want 1", c.rollbacks)
				}
			})
		})
	}
}
