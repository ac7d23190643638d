package engine_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

// everyRollbackFails has every attempt of Helm leave a failed revision behind.
func everyRollbackFails(c *cluster) {
	c.duringRollback = func() {
		c.addRevision("v2", `Rollback "canary-demo" failed: quota exceeded`, "uid-2")
		c.change(func() {
			c.newest().Status = rollback.StatusFailed
			c.rollbackErrors = []error{errors.New("quota exceeded")}
		})
	}
}

func TestARollbackOutlastsAnUnavailableAPIServer(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(5 * time.Minute)
		if r := c.shopRecord(2); c.rollbacks != 1 || !r.Rollback.Succeeded() {
			t.Errorf("%d rollbacks after attempts that changed nothing: %s; want 1", c.rollbacks, report.Summary(&r))
		}
	}, func(c *cluster) { c.rollbackErrors = slices.Repeat([]error{errAPIServer}, 10) })
}

func TestSweepsDoNotShortenTheBackoffOfARollback(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(2 * time.Minute)
		if r := c.shopRecord(2); r.Rollback.Attempts > 12 {
			t.Errorf("%d attempts in two minutes, want at most 12", r.Rollback.Attempts)
		}
	}, func(c *cluster) { c.rollbackErrors = slices.Repeat([]error{errAPIServer}, 1000) })
}

// suggests reports whether the record's report has the command.
func suggests(r *rollback.Record, c rollback.Command) bool {
	return slices.ContainsFunc(report.Commands(r), func(shown report.Command) bool { return shown.Line == c })
}

func TestAFailedRollbackNamesTheCommandToRun(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(time.Hour)
		r := c.shopRecord(2)
		if !r.Rollback.Failed || !r.Hold.Active() || !suggests(&r, r.HelmRollbackCommand(1)) || !suggests(&r, r.HelmHistoryCommand()) {
			t.Errorf("%s; want a failed step, the zero held, and a report that says what to run", report.Summary(&r))
		}
	}, func(c *cluster) {
		c.rollbackErrors = slices.Repeat([]error{errors.New("no matches for kind Rocket")}, 1000)
	})
}

func TestARollbackThatKeepsFailingNeedsHelp(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(time.Hour)
		r, revisions := c.shopRecord(2), len(c.history[rollbacktest.Shop()])
		if !r.Rollback.Failed || revisions > 8 || !suggests(&r, r.HelmRollbackCommand(1)) {
			t.Errorf("%d revisions: %s; want a few attempts and the command to run", revisions, r.Rollback.Error)
		}
		if c.weight != "0" {
			t.Errorf("weight %s after a failed rollback, want 0", c.weight)
		}
	}, everyRollbackFails)
}

func TestTheRevisionOfAFailedRollbackIsBackoutsOwn(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(time.Hour)
		c.duringRollback = nil
		deliver(t, e, alertAbout(""))
		wait(time.Hour)
		if r := c.shopRecord(c.newest().Number); r.Decision().Verdict != rollback.Own || c.rollbacks != 0 {
			t.Errorf("%s, %d rollbacks; want the incomplete revision left to an operator", report.Summary(&r), c.rollbacks)
		}
	}, everyRollbackFails)
}

func TestHeldContentIsNotATarget(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("shed"))
		wait(time.Minute)
		c.upgrade("v4", "Upgrade complete")
		wait(time.Minute)
		deliver(t, e, alertAbout("v4"))
		wait(time.Minute)
		if r := c.shopRecord(3); r.Target != 1 {
			t.Errorf("%s; want v2 as the target: v3 was held", report.Summary(&r))
		}
	})
}

// TestDifferencesReachTheRecord: the record says how the live objects differ from what the
// target declares, or that they could not be compared.
func TestDifferencesReachTheRecord(t *testing.T) {
	for what, c := range map[string]struct {
		differences []string
		err         error
		want        string
	}{
		"a difference":                  {differences: []string{"ConfigMap shop differs from revision 1 in data.a"}, want: "ConfigMap shop differs from revision 1 in data.a"},
		"they could not be compared":    {err: errAPIServer, want: "the live objects could not be compared with revision 1: " + errAPIServer.Error()},
		"more than a record has to say": {differences: make([]string, 30), want: "11 more objects differ"},
	} {
		t.Run(what, func(t *testing.T) {
			simulate(t, func(t *testing.T, cl *cluster, e *engine.Engine) {
				deliver(t, e, alert("rollback"))
				wait(10 * time.Second)
				r := cl.shopRecord(2)
				if !r.Rollback.Succeeded() || len(r.Differences) == 0 || r.Differences[len(r.Differences)-1] != c.want {
					t.Errorf("the record names it: want %q, got %q", c.want, r.Differences)
				}
			}, func(cl *cluster) { cl.differences, cl.differencesError = c.differences, c.err })
		})
	}
}
