package engine_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

func TestNoZeroIsLeftAfterARollbackThatWasOvertaken(t *testing.T) {
	for name, prepare := range map[string]func(c *cluster){
		"overtaken": func(c *cluster) {
			c.duringRollback = func() {
				c.duringRollback = nil
				c.upgrade("v4", "Upgrade complete")
			}
		},
		"failed": func(c *cluster) { c.rollbackErrors = slices.Repeat([]error{errors.New("quota")}, 20) },
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
				deliver(t, e, alert("rollback"))
				wait(time.Hour)
				if name == "failed" {
					if r := c.shopRecord(2); c.weight != "0" || !r.Hold.Active() || !report.NeedsHelp(&r) {
						t.Fatalf("weight %s, %s; want the zero held, and the team notified", c.weight, report.Summary(&r))
					}
					c.upgrade("v4", "Upgrade complete") // an operator fixes it
				}
				wait(24 * time.Hour)
				r := c.shopRecord(2)
				if c.weight != "20" || r.Closed.IsZero() || r.Hold.Active() {
					t.Errorf("weight %s a day after v4 was deployed; closed %t, hold %+v, %s", c.weight, !r.Closed.IsZero(), r.Hold, report.Summary(&r))
				}
			}, prepare)
		})
	}
}

// halfShed sheds one of two routes.
type halfShed struct{ *cluster }

func (h halfShed) Shed(ctx context.Context, k rollback.Key, m rollback.Manifest, seen rollback.Observation, p rollback.Precondition) ([]rollback.Weight, error) {
	weights, err := h.cluster.Shed(ctx, k, m, seen, p)
	return weights, errors.Join(err, errForbidden)
}

func TestAShedOfWhichOneRouteFailedIsHeld(t *testing.T) {
	synctestRun(t, func(t *testing.T, c *cluster) {
		e := newEngine(t, c, rollbacktest.Policy(), func(o *engine.Options) { o.Traffic = halfShed{c} })
		run(t, e)
		deliver(t, e, alert("shed"))
		wait(time.Minute)
		if r := c.shopRecord(2); !report.NeedsHelp(&r) || !r.Closed.IsZero() {
			t.Fatalf("%s; want the team notified of the other route", report.Summary(&r))
		}
		c.change(func() { c.ready = false })
		c.upgrade("v4", "Upgrade complete")
		wait(time.Minute)
		if r := c.shopRecord(2); c.weight != "0" || !r.Hold.Active() {
			t.Fatalf("weight %s, %s; want the route that is at zero held", c.weight, report.Summary(&r))
		}
		c.change(func() { c.ready = true })
		wait(time.Minute)
		if r := c.shopRecord(2); c.weight != "20" || r.Closed.IsZero() {
			t.Errorf("weight %s, %s; want v4's weight", c.weight, report.Summary(&r))
		}
	})
}

// A process may die between the shed and the write of the record, and the release move on
// before the next one leads.
func TestAShedThatNoRecordKnowsIsHeldWhenTheReleaseMovesOn(t *testing.T) {
	synctestRun(t, func(t *testing.T, c *cluster) {
		storeRecord(t, c, rollback.Decision{Verdict: rollback.Busy, Shed: true, Waits: true}, func(r *rollback.Record) { r.Shed = startedStep() })
		c.setWeight("0")
		c.upgrade("v4", "Upgrade complete")
		c.ready = false
		run(t, newEngine(t, c, rollbacktest.Policy()))
		wait(time.Minute)
		if r := c.shopRecord(2); !r.Hold.Active() {
			t.Fatalf("%s; want the zero held", report.Summary(&r))
		}
		c.change(func() { c.ready = true })
		wait(time.Minute)
		if r := c.shopRecord(2); c.weight != "20" || r.Closed.IsZero() {
			t.Errorf("weight %s, %s; want v4's weight", c.weight, report.Summary(&r))
		}
	})
}

// The operator's command closes the record first, and then restores the weight.
func TestAShedThatIsTriedAgainDoesNotUndoAnUnhold(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		sheds := 0
		c.beforeShed = func() {
			if sheds++; sheds == 4 {
				if _, err := manual(c).Unhold(t.Context(), rollbacktest.Shop()); err != nil {
					t.Error(err)
				}
			}
		}
		deliver(t, e, alert("shed"))
		wait(time.Hour)
		if r := c.shopRecord(2); c.weight != "20" || slices.Contains(c.weightsWritten, "0") || r.Closed.IsZero() {
			t.Errorf("weight %s (written %v), %s; want the canary to stay unheld", c.weight, c.weightsWritten, report.Summary(&r))
		}
	}, func(c *cluster) { c.shedErrors = slices.Repeat([]error{errForbidden}, 3) })
}

func TestAReleaseThatIsNoLongerOptedInIsNotLeftAtZeroInSilence(t *testing.T) {
	synctestRun(t, func(t *testing.T, c *cluster) {
		first := newEngine(t, c, rollbacktest.Policy())
		stop := run(t, first)
		startHold(t, c, first)
		stop()
		p := rollbacktest.Policy()
		p.Releases = []string{"elsewhere/*"}
		run(t, newEngine(t, c, p))
		wait(time.Minute)
		r := c.shopRecord(2)
		if r.Closed.IsZero() || !report.NeedsHelp(&r) || !suggests(&r, r.UnholdCommand()) || !strings.Contains(report.Explain(r).Headline, "zero") {
			t.Errorf("%q, %s; want the zero reported, with the command", report.Explain(r).Headline, report.Summary(&r))
		}
	})
}
