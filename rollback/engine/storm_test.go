package engine_test

import (
	"testing"
	"time"

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
		wait(15 * time.Minute)
		if c.rollbacks != 5 {
			t.Errorf("%d rollbacks after the storm, want 5: the alerts are not resolved, and decided again", c.rollbacks)
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

func TestRepeatedAlertsDoNotProlongAStorm(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		alerts := addReleases(c, 5)
		for range 8 {
			deliver(t, e, alerts...)
			wait(5 * time.Minute)
		}
		if c.rollbacks != 5 {
			t.Errorf("%d rollbacks after 40 minutes of the same five alerts, want 5: the storm is over after 10", c.rollbacks)
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
