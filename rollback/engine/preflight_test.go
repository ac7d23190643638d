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
		if !strings.Contains(report.Summary(&r), "PersistentVolumeClaim orders") || !strings.Contains(report.Summary(&r), "in spite of the harm named above: helm rollback canary-demo 1 -n canary-demo") {
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
