package engine_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/report"
)

func TestAnUnsafeRollbackBecomesAHoldWithTheCommand(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(time.Hour)
		r := c.shopRecord(2)
		if c.rollbacks != 0 || c.weight != "0" || r.Decision().Verdict != rollback.Unsafe || !r.Hold.Active() {
			t.Errorf("%d rollbacks, weight %s, %s; want the canary held and nothing rolled back", c.rollbacks, c.weight, report.Summary(&r))
		}
		if !strings.Contains(report.Summary(&r), "PersistentVolumeClaim orders") || !strings.Contains(report.Summary(&r), "in spite of the harm named above: backout rollback canary-demo/canary-demo --to 1 --allow pvc") {
			t.Errorf("the summary lacks the reason or the command: %s", report.Summary(&r))
		}
		if c.preflights > 2 {
			t.Errorf("%d preflights for one decision", c.preflights)
		}
	}, func(c *cluster) {
		c.preflightResult.Dangers = []rollback.Danger{{Kind: rollback.DangerPVC, What: "it deletes PersistentVolumeClaim orders"}}
	})
}

func TestAPreflightThatKeepsFailingNeedsHelp(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(6 * time.Hour)
		r := c.shopRecord(2)
		if c.preflights > 40 || r.Decision().Verdict != rollback.Unsafe || !r.Decision().NeedsHelp || !strings.Contains(r.Decision().Reason, "failed calling webhook") {
			t.Errorf("%d preflights, %s; want a bound, a hold, and the error as its reason", c.preflights, report.Summary(&r))
		}
	}, func(c *cluster) {
		c.preflightErrors = slices.Repeat([]error{errors.New("failed calling webhook")}, 1000)
	})
}

// TestAPreflightIsNotOlderThanItsWait: a result from before another client's operation, or
// long ago, says nothing about now.
func TestAPreflightIsNotOlderThanItsWait(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(10 * time.Minute)
		c.change(func() {
			c.newest().Status, c.duringPreflight = rollback.StatusDeployed, nil
			c.preflightResult.Dangers = []rollback.Danger{{Kind: rollback.DangerPVC, What: "it deletes PersistentVolumeClaim orders"}}
		})
		wait(time.Minute)
		if r := c.shopRecord(2); c.rollbacks != 0 || c.preflights != 2 || r.Decision().Verdict != rollback.Unsafe {
			t.Errorf("%d preflights, %d rollbacks: %s; want a second preflight and its danger", c.preflights, c.rollbacks, report.Summary(&r))
		}
	}, func(c *cluster) { c.duringPreflight = func() { upgradeInFlight(c) } })
}

func TestPreflightIsCurrent(t *testing.T) {
	now := time.Now()
	at := func(age time.Duration) rollback.Decision { return rollback.Decision{Rollback: true, At: now.Add(-age)} }
	waiting := func(age time.Duration) rollback.Decision {
		return rollback.Decision{Verdict: rollback.Busy, At: now.Add(-age)}
	}
	preflight := &rollback.Step{Done: now.Add(-30 * time.Second)}
	for rule, c := range map[string]struct {
		r    rollback.Record
		want bool
	}{
		"a preflight counts for its target":               {rollback.Record{Preflight: preflight, PreflightTarget: 2}, true},
		"it counts for no other target":                   {rollback.Record{Preflight: preflight, PreflightTarget: 3}, false},
		"one that failed does not count":                  {rollback.Record{Preflight: &rollback.Step{Failed: true}, PreflightTarget: 2}, false},
		"one from long ago does not count":                {rollback.Record{Preflight: &rollback.Step{Done: now.Add(-time.Hour)}, PreflightTarget: 2}, false},
		"it counts after a wait":                          {rollback.Record{Preflight: preflight, PreflightTarget: 2, Decisions: []rollback.Decision{waiting(time.Minute), at(50 * time.Second)}}, true},
		"it does not count if the rollback waited since":  {rollback.Record{Preflight: preflight, PreflightTarget: 2, Decisions: []rollback.Decision{at(time.Minute), waiting(20 * time.Second), at(time.Second)}}, false},
		"another reason for the same rollback is no wait": {rollback.Record{Preflight: preflight, PreflightTarget: 2, Decisions: []rollback.Decision{at(time.Minute), at(time.Second)}}, true},
	} {
		if got := c.r.PreflightIsCurrent(2, now); got != c.want {
			t.Errorf("%s: want %t", rule, c.want)
		}
	}
}
