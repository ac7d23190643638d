package engine_test

import (
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/report"
)

// More often than backout tries a restore that fails: the weight would stay at zero in a hold.
func TestAnOverloadedAPIServerUsesUpNoAttemptAtTheRestore(t *testing.T) {
	const refused = 30
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		c.change(func() { c.restoreErrors = overloads(refused, 20*time.Second) })
		deliver(t, e, alert("rollback"))
		wait(2 * time.Minute)
		if n := refused - len(c.restoreErrors); n > 8 {
			t.Errorf("%d attempts within two minutes, want one in the 20 seconds for which the API server asks", n)
		}
		if r := c.shopRecord(2); !report.NeedsHelp(&r) || r.Obstacle == nil || r.Restore != nil && r.Restore.Attempts > 0 || r.Hold != nil {
			t.Errorf("%s, obstacle %+v, restore %+v; want the team to know, and no attempt to be counted", report.Summary(&r), r.Obstacle, r.Restore)
		}
		wait(15 * time.Minute)
		if r := c.shopRecord(2); c.weight != "20" || !r.Restore.Succeeded() || report.NeedsHelp(&r) {
			t.Errorf("weight %s, %s; want the target's, once the API server takes requests on", c.weight, report.Summary(&r))
		}
	})
}

// Helm has written the zero already: the mark on the route waits for the API server, and no attempt
// is used up.
func TestAnOverloadedAPIServerUsesUpNoAttemptAtTheHoldOfATarget(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(2 * time.Minute)
		if r := c.shopRecord(2); c.rollbacks != 1 || !report.NeedsHelp(&r) || r.Obstacle == nil || r.Restore != nil && r.Restore.Attempts > 0 {
			t.Errorf("%d rollbacks, %s, obstacle %+v, restore %+v; want the team to know, and no attempt to be counted", c.rollbacks, report.Summary(&r), r.Obstacle, r.Restore)
		}
		wait(15 * time.Minute)
		if made := c.shopRecord(3); !made.Hold.Active() || made.Hold.Problem != "" || c.weight != "0" {
			t.Errorf("weight %s, %s, hold %+v; want it held and marked, once the API server takes requests on", c.weight, report.Summary(&made), made.Hold)
		}
	}, promotedCanary, func(c *cluster) { c.shedErrors = overloads(30, 0) })
}
