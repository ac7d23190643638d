package engine_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

// manual returns what ann orders.
func manual(c *cluster) engine.Manual {
	return engine.Manual{Releases: c, Traffic: c, Ledger: c, Operator: "ann"}
}

func TestAManualHoldDoesNotCountAsAnAlert(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		if _, err := manual(c).Hold(t.Context(), rollbacktest.Shop(), "looks odd"); err != nil {
			t.Fatal(err)
		}
		e := newEngine(t, c, rollbacktest.Policy())
		run(t, e)
		a := alert("rollback")
		deliver(t, e, a)
		wait(time.Minute)
		if r := c.shopRecord(2); r.Hold.Active() {
			t.Errorf("%s; want the hold ended once the release is rolled back", report.Summary(&r))
		}
		a.Resolved = true
		deliver(t, e, a)
		wait(time.Hour)
		if r := c.shopRecord(2); r.Outcome != rollback.OutcomeRestored {
			t.Errorf("outcome %q; want it to follow from the end of the alert alone", r.Outcome)
		}
	})
}

func TestUnholdWinsOverARollbackThatWaits(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(10 * time.Second)
		if _, err := manual(c).Unhold(t.Context(), rollbacktest.Shop()); err != nil {
			t.Fatal(err)
		}
		wait(time.Minute)
		if r := c.shopRecord(2); c.weight != "20" || !r.Hold.Lifted {
			t.Errorf("weight %s (written %v), %s, hold %+v; want the canary to stay unheld", c.weight, c.weightsWritten, report.Summary(&r), r.Hold)
		}
	}, upgradeInFlight)
}

func TestUnholdRightBeforeAZeroWins(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		sheds := 0
		c.beforeShed = func() {
			if sheds++; sheds == 2 { // the zero that is kept during the upgrade
				if _, err := manual(c).Unhold(t.Context(), rollbacktest.Shop()); err != nil {
					t.Error(err)
				}
			}
		}
		deliver(t, e, alert("rollback"))
		wait(time.Minute)
		if r := c.shopRecord(2); c.weight != "20" || !r.Hold.Lifted {
			t.Errorf("weight %s (written %v), %s, hold %+v; want the canary to stay unheld", c.weight, c.weightsWritten, report.Summary(&r), r.Hold)
		}
	}, upgradeInFlight)
}

func TestManualOrdersAreRefusedDuringARollback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		storeRecord(t, c, rollbackToV2(), claimRollback)
		_, holdErr := manual(c).Hold(t.Context(), rollbacktest.Shop(), "")
		_, unholdErr := manual(c).Unhold(t.Context(), rollbacktest.Shop())
		for _, err := range []error{holdErr, unholdErr} {
			if err == nil || !strings.Contains(err.Error(), "kubectl get configmap backout.v1.canary-demo.v2") {
				t.Errorf("got %v; want a refusal that says where to look", err)
			}
		}
		if len(c.weightsWritten) != 0 {
			t.Errorf("weights written %v during a rollback", c.weightsWritten)
		}
	})
}

// The command is what the report of a shed that was given up shows.
func TestAHoldDuringARollbackDoesTheShedThatWasGivenUp(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		c.rollbackTime, c.duringRollback = time.Minute, func() {
			if _, err := manual(c).Hold(t.Context(), rollbacktest.Shop(), ""); err != nil {
				t.Error(err)
			}
			if c.weight != "0" {
				t.Errorf("weight %s after the command; want zero", c.weight)
			}
		}
		deliver(t, e, alert("rollback"))
		wait(3 * time.Minute)
		if r := c.shopRecord(2); c.weight != "20" || !r.Rollback.Succeeded() || !r.Restore.Succeeded() || r.Shed.Operator != "ann" {
			t.Errorf("weight %s, %s; want the rollback to go on, and the weight restored", c.weight, report.Summary(&r))
		}
	}, func(c *cluster) { c.shedErrors = slices.Repeat([]error{errForbidden}, 5) })
}

// TestUnholdEndsAnInterruptedManualRollback: the release is backout's again.
func TestUnholdEndsAnInterruptedManualRollback(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, c *cluster){
		"after its shed": func(t *testing.T, c *cluster) {
			ctx, stop := context.WithCancel(t.Context())
			c.change(func() { c.afterShed = stop })
			if _, err := rollBack(ctx, c); err == nil || c.weight != "0" {
				t.Fatalf("weight %s, %v; want the command interrupted", c.weight, err)
			}
		},
		"of a release without a canary": func(t *testing.T, c *cluster) {
			claimManually(t, c, time.Now())
			c.change(func() { c.records[rollbacktest.Shop()][0].Manual.ID = "" })
		},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, c *cluster, _ *engine.Engine) {
				prepare(t, c)
				wait(10 * time.Second)
				if _, err := manual(c).Unhold(t.Context(), rollbacktest.Shop()); err != nil {
					t.Fatal(err)
				}
				wait(time.Minute)
				r := c.shopRecord(2)
				if r.Manual.Active() || r.Hold.Active() || r.Closed.IsZero() || c.weight != "20" || !strings.Contains(r.Manual.Note, "unhold") || report.NeedsHelp(&r) {
					t.Errorf("manual %+v, hold %+v, weight %s, %s; want the claim ended", r.Manual, r.Hold, c.weight, report.Summary(&r))
				}
			})
		})
	}
}

// TestManualOrdersAreRefusedDuringAManualRollback: the other command holds the weight, and
// restores it.
func TestManualOrdersAreRefusedDuringAManualRollback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.ready = false
		var running sync.WaitGroup
		running.Go(func() { _, _ = rollBack(t.Context(), c) })
		wait(10 * time.Second)
		written := len(c.weightsWritten)
		_, holdErr := manual(c).Hold(t.Context(), rollbacktest.Shop(), "")
		_, unholdErr := manual(c).Unhold(t.Context(), rollbacktest.Shop())
		for _, err := range []error{holdErr, unholdErr} {
			if err == nil || !strings.Contains(err.Error(), "ann rolls it back with backout rollback") || !strings.Contains(err.Error(), "kubectl get configmap backout.v1.canary-demo.v2") {
				t.Errorf("got %v; want a refusal that names the operator, and says where to look", err)
			}
		}
		if len(c.weightsWritten) != written {
			t.Errorf("weights written %v; want none by the refused commands", c.weightsWritten)
		}
		running.Wait()
	})
}

// TestManualOrdersGoOnAfterADeadManualRollback: its process has been killed.
func TestManualOrdersGoOnAfterADeadManualRollback(t *testing.T) {
	for name, order := range map[string]func(ctx context.Context, c *cluster) error{
		"hold": func(ctx context.Context, c *cluster) error {
			_, err := manual(c).Hold(ctx, rollbacktest.Shop(), "")
			return err
		},
		"unhold": func(ctx context.Context, c *cluster) error {
			_, err := manual(c).Unhold(ctx, rollbacktest.Shop())
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				claimManually(t, c, time.Now())
				if err := order(t.Context(), c); err != nil || len(c.weightsWritten) != 1 {
					t.Errorf("%v, weights written %v; want the order carried out", err, c.weightsWritten)
				}
			})
		})
	}
}

// seenShed counts the sheds that begin with what Observe has read.
type seenShed struct {
	*cluster
	seen, blind *int
}

func (s seenShed) Shed(ctx context.Context, k rollback.Key, m rollback.Manifest, seen rollback.Observation, p rollback.Precondition) ([]rollback.Weight, error) {
	if seen != nil {
		*s.seen++
	} else {
		*s.blind++
	}
	return s.cluster.Shed(ctx, k, m, seen, p)
}

// Only an observation says which rules have no backend that is ready, and keep their weights.
func TestAManualShedKnowsWhatIsReady(t *testing.T) {
	for name, order := range map[string]func(context.Context, engine.Manual) error{
		"hold": func(ctx context.Context, m engine.Manual) error {
			_, err := m.Hold(ctx, rollbacktest.Shop(), "errors")
			return err
		},
		"rollback": func(ctx context.Context, m engine.Manual) error {
			return m.RollBack(ctx, engine.RollbackOrder{Key: rollbacktest.Shop(), HookTimeout: time.Minute, PodTimeout: time.Minute, Print: func(string) {}})
		},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, c *cluster, _ *engine.Engine) {
				m, seen, blind := manual(c), 0, 0
				m.Traffic = seenShed{c, &seen, &blind}
				if err := order(t.Context(), m); err != nil {
					t.Fatal(err)
				}
				if seen != 1 || blind != 0 {
					t.Errorf("%d sheds with an observation and %d without; want 1 with one", seen, blind)
				}
			})
		})
	}
}
