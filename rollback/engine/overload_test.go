package engine_test

import (
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/report"
)

// overloads are errors of an API server that has too much to do.
func overloads(n int, after time.Duration) []error {
	errs := make([]error, n)
	for i := range errs {
		errs[i] = &rollback.OverloadedError{RetryAfter: after, Err: errAPIServer}
	}
	return errs
}

// More often than backout tries a step that fails.
func TestAnOverloadedAPIServerUsesUpNoAttempt(t *testing.T) {
	const refused = 30
	for name, errs := range map[string]func(*cluster) *[]error{
		"of the preflight": func(c *cluster) *[]error { return &c.preflightErrors },
		"of the rollback":  func(c *cluster) *[]error { return &c.rollbackErrors },
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
				left := errs(c)
				c.change(func() { *left = overloads(refused, 20*time.Second) })
				deliver(t, e, alert("rollback"))
				wait(2 * time.Minute)
				if n := refused - len(*left); n > 8 {
					t.Errorf("%d attempts within two minutes, want one in the 20 seconds for which the API server asks", n)
				}
				r := c.shopRecord(2)
				if !report.NeedsHelp(&r) || r.Obstacle == nil || r.Rollback != nil && r.Rollback.Attempts > 0 || r.Preflight != nil && !r.Preflight.Succeeded() {
					t.Errorf("%s, obstacle %+v, rollback %+v; want the team to know, and no attempt to be counted", report.Summary(&r), r.Obstacle, r.Rollback)
				}
				wait(15 * time.Minute)
				if r := c.shopRecord(2); c.rollbacks != 1 || report.NeedsHelp(&r) {
					t.Errorf("%d rollbacks, %s; want one, once the API server takes requests on", c.rollbacks, report.Summary(&r))
				}
			})
		})
	}
}

// The API server takes the new revision on, and nothing after it.
func TestAnOverloadInTheMiddleOfARollbackUsesUpNoAttempt(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		c.change(func() { c.interruptions, c.interruption = 3, overloads(1, 0)[0] })
		deliver(t, e, alert("rollback"))
		wait(20 * time.Second)
		if r := c.shopRecord(2); c.interruptions != 2 || r.Rollback == nil || r.Rollback.Attempts != 0 {
			t.Errorf("%d attempts, rollback %+v; want one within 20 seconds, each leaves a revision behind, and none counted", 3-c.interruptions, r.Rollback)
		}
		wait(2 * time.Minute)
		if r := c.shopRecord(2); c.rollbacks != 1 {
			t.Errorf("%d rollbacks, want one; %s", c.rollbacks, report.Summary(&r))
		}
	})
}
