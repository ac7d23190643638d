package engine_test

import (
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

// redeployed has the demo's v3 rolled back that long before another canary under the same tag
// is deployed now, as revision 4.
func redeployed(gap time.Duration, version string) func(*cluster) {
	return func(c *cluster) {
		now := time.Now()
		c.history[rollbacktest.Shop()] = rollback.History{
			{Number: 4, UID: "uid-4", Status: rollback.StatusDeployed, Deployed: now, Content: "c4", Versions: []string{version}, Chart: "canary-demo"},
			{Number: 3, UID: "uid-3", Status: rollback.StatusSuperseded, Deployed: now.Add(-gap), Content: "c2", Versions: []string{"v2"}, Chart: "canary-demo", Description: "Rollback to 1"},
			{Number: 2, UID: "uid-2", Status: rollback.StatusSuperseded, Deployed: now.Add(-gap - 5*time.Minute), Content: "c3", Versions: []string{"v3"}, Chart: "canary-demo"},
			{Number: 1, UID: "uid-1", Status: rollback.StatusSuperseded, Deployed: now.Add(-2 * time.Hour), Content: "c2", Versions: []string{"v2"}, Chart: "canary-demo"},
		}
	}
}

// firesUntil has Prometheus say that the alert fires until then; for ever if it is zero.
func firesUntil(end time.Time) func(*cluster) {
	return func(c *cluster) {
		c.answers = answers(rollback.AnswerFiring)
		c.firing = func(rollback.Key) rollback.Answer {
			if !end.IsZero() && !time.Now().Before(end) {
				return rollback.AnswerQuiet
			}
			return rollback.AnswerFiring
		}
	}
}

// A canary under a tag that was rolled back shortly before: what its predecessor did is in the
// windows of the alert's rule. A healthy one is left alone, and a bad one is rolled back as soon
// as the windows are its own.
func TestTheSameTagAgain(t *testing.T) {
	start := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // of every bubble
	for alertname, window := range map[string]time.Duration{"CanaryErrorRatio": time.Minute, "CanaryErrorRatioSlow": 5 * time.Minute} {
		for _, gap := range []time.Duration{10 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute} {
			again := alertAbout("v3")
			again.Labels["alertname"] = alertname
			again.StartsAt = start.Add(3 * time.Second)
			acts := start.Add(-gap + window + 2*time.Minute) // keep_firing_for and one evaluation
			t.Run(alertname+" after "+gap.String(), func(t *testing.T) {
				simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
					wait(5 * time.Second)
					deliver(t, e, again)
					wait(20 * time.Minute)
					if r := c.shopRecord(4); c.rollbacks != 0 || len(c.weightsWritten) != 0 {
						t.Errorf("healthy: %d rollbacks, weights written %v, %s; want it left alone: what fires is its predecessor's", c.rollbacks, c.weightsWritten, report.Summary(&r))
					}
				}, redeployed(gap, "v3"), firesUntil(start.Add(-gap+window+time.Minute)))
				simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
					wait(5 * time.Second)
					deliver(t, e, again)
					if until := time.Until(acts) - time.Second; until > 0 {
						wait(until)
						if rollbacks, weight := c.progress(); rollbacks != 0 || weight != "20" {
							t.Errorf("bad: %d rollbacks, weight %s before the windows are its own", rollbacks, weight)
						}
					}
					wait(5 * time.Second)
					if rollbacks, _ := c.progress(); rollbacks != 1 {
						r := c.shopRecord(4)
						t.Errorf("bad: %d rollbacks once the windows are its own, want 1: %s", rollbacks, report.Summary(&r))
					}
				}, redeployed(gap, "v3"), firesUntil(time.Time{}))
			})
		}
	}
}

// A version that no earlier revision ran is acted on at once, whatever was rolled back before.
func TestANewVersionDoesNotWaitForWindows(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		wait(2 * time.Second)
		again := alertAbout("v4")
		again.StartsAt = time.Now()
		deliver(t, e, again)
		wait(time.Second)
		if rollbacks, _ := c.progress(); rollbacks != 1 {
			r := c.shopRecord(4)
			t.Errorf("%d rollbacks within a second, want 1: %s", rollbacks, report.Summary(&r))
		}
	}, redeployed(10*time.Second, "v4"), firesUntil(time.Time{}))
}

// An alert that names no version waits until the revision has served for its window.
func TestAnAlertWithoutAVersionWaitsForItsWindow(t *testing.T) {
	for name, c := range map[string]struct {
		end       time.Duration
		rollbacks int
	}{"healthy": {5 * time.Minute, 0}, "bad": {time.Hour, 1}} {
		t.Run(name, func(t *testing.T) {
			end := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(c.end)
			simulate(t, func(t *testing.T, cluster *cluster, e *engine.Engine) {
				wait(20 * time.Second)
				again := alertAbout("")
				again.StartsAt = time.Now()
				deliver(t, e, again)
				wait(6*time.Minute + 30*time.Second)
				if rollbacks, weight := cluster.progress(); rollbacks != 0 || weight != "20" {
					t.Errorf("%d rollbacks, weight %s before the revision has served for the window", rollbacks, weight)
				}
				wait(time.Minute)
				if rollbacks, _ := cluster.progress(); rollbacks != c.rollbacks {
					t.Errorf("%d rollbacks after the window, want %d", rollbacks, c.rollbacks)
				}
			}, redeployed(time.Minute, "v4"), firesUntil(end))
		})
	}
}

// Each save of a record wakes the engine: a decision whose text changes with the time would be
// stored without end.
func TestAnAlertThatWaitsForItsWindowIsStoredOnce(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		saves := 0
		c.change(func() {
			c.saved = func(r rollback.Record) { saves++; e.OnRecord(r) }
		})
		wait(20 * time.Second)
		again := alertAbout("")
		again.StartsAt = time.Now()
		deliver(t, e, again)
		wait(5 * time.Minute)
		if r := c.shopRecord(4); saves > 3 || r.Decision().Verdict != rollback.Settling {
			t.Errorf("%d saves within five minutes; %s", saves, report.Summary(&r))
		}
		over := again
		over.Resolved = true
		deliver(t, e, over)
		wait(time.Second)
		if r := c.shopRecord(4); r.Decision().Verdict != rollback.Stale {
			t.Errorf("an alert that is over cannot come to count: %s", report.Summary(&r))
		}
	}, redeployed(time.Minute, "v4"), func(c *cluster) { c.answers = answers(rollback.AnswerFiring) })
}
