package engine_test

import (
	"context"
	"errors"
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

// rollBack has ann roll the demo's release back, and returns the lines that the command prints.
func rollBack(ctx context.Context, c *cluster, changes ...func(*engine.RollbackOrder)) (string, error) {
	var mu sync.Mutex
	var lines []string
	o := engine.RollbackOrder{
		Key: rollbacktest.Shop(), HookTimeout: time.Minute, PodTimeout: time.Minute,
		Print: func(line string) { mu.Lock(); defer mu.Unlock(); lines = append(lines, line) },
	}
	for _, change := range changes {
		change(&o)
	}
	err := manual(c).RollBack(ctx, o)
	mu.Lock()
	defer mu.Unlock()
	return strings.Join(lines, "\n"), err
}

func TestAManualRollbackHoldsTheWeightAndPrintsEachStep(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, _ *engine.Engine) {
		printed, err := rollBack(t.Context(), c)
		if err != nil {
			t.Fatal(err)
		}
		wait(time.Minute)
		if want := []string{"0", "0", "20"}; !slices.Equal(c.weightsWritten, want) || c.rollbacks != 1 {
			t.Errorf("%d rollbacks, weights written %v; want 1 and %v: zero, held at zero while Helm writes, then the weight of the target", c.rollbacks, c.weightsWritten, want)
		}
		for _, line := range []string{
			"revision 2 is rolled back to revision 1", "Ingress/shop-canary 20 -> 0", "Helm rolls back to revision 1", "Helm has made revision 3",
			"Ingress/shop-canary 0 -> 20", "is rolled back to revision 1, as revision 3",
		} {
			if !strings.Contains(printed, line) {
				t.Errorf("the command prints %q: got\n%s", line, printed)
			}
		}
		r := c.shopRecord(2)
		if r.Manual.Active() || r.Closed.IsZero() || r.Hold.Active() || report.NeedsHelp(&r) {
			t.Errorf("%s; want the record closed, without a hold and without a need for help", report.Summary(&r))
		}
	})
}

// interrupt ends the command at one of its steps.
func interrupt(c *cluster, step string, stop context.CancelFunc) {
	switch step {
	case "before Helm":
		c.afterShed = stop
	case "while Helm writes":
		c.interruptions = 1
	case "when Helm has failed":
		c.rollbackErrors = []error{errAPIServer}
	case "while the pods start":
		c.ready = false
	case "before the weight is restored":
		c.beforeRestore = func() { stop(); c.beforeRestore = nil }
	}
}

func interruptions() []string {
	return []string{"before Helm", "while Helm writes", "when Helm has failed", "while the pods start", "before the weight is restored"}
}

// TestAnInterruptedManualRollbackGoesOn: the weight stays zero in its hold, a running backout
// leaves the release alone, and the command goes on where it stopped.
func TestAnInterruptedManualRollbackGoesOn(t *testing.T) {
	for _, step := range interruptions() {
		t.Run(step, func(t *testing.T) {
			simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
				ctx, stop := context.WithCancel(t.Context())
				defer stop()
				interrupt(c, step, stop)
				_, err := rollBack(ctx, c)
				if err == nil || !strings.Contains(err.Error(), "go on with: backout rollback canary-demo/canary-demo --to 1") {
					t.Fatalf("got %v; want an error with the command that goes on", err)
				}
				deliver(t, e, alert("rollback"))
				wait(time.Minute)
				r := c.shopRecord(2)
				if !r.Hold.Active() || !r.Manual.Active() || r.Rollback != nil || c.weight != "0" {
					t.Errorf("weight %s, hold %+v, manual %+v, rollback %+v; want zero with its hold, and backout off", c.weight, r.Hold, r.Manual, r.Rollback)
				}
				made := c.newest().Number
				c.ready = true
				printed, err := rollBack(t.Context(), c)
				if err != nil {
					t.Fatalf("the command goes on: %v after\n%s", err, printed)
				}
				wait(time.Minute)
				if r := c.shopRecord(2); c.rollbacks != 1 || c.weight != "20" || r.Hold.Active() || r.Manual.Active() || r.Closed.IsZero() || c.newest().Status.Pending() {
					t.Errorf("%d rollbacks, weight %s, %s (revision %d before); want one rollback and the weight of the target", c.rollbacks, c.weight, report.Summary(&r), made)
				}
			})
		})
	}
}

// TestAFinishedManualRollbackIsNotDoneAgain: an operator whose command was killed at its very end runs
// it again.
func TestAFinishedManualRollbackIsNotDoneAgain(t *testing.T) {
	for name, c := range map[string]struct{ to, rollbacks int }{
		"the same order": {0, 1}, "the same target": {1, 1}, "another target": {2, 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cl := newCluster()
				if printed, err := rollBack(t.Context(), cl); err != nil {
					t.Fatalf("%v after\n%s", err, printed)
				}
				printed, err := rollBack(t.Context(), cl, func(o *engine.RollbackOrder) { o.To = c.to })
				if err != nil || cl.rollbacks != c.rollbacks {
					t.Errorf("%v, %d rollbacks, want %d; printed\n%s", err, cl.rollbacks, c.rollbacks, printed)
				}
				if already := strings.Contains(printed, "is rolled back to revision 1 already, as revision 3"); already != (c.rollbacks == 1) {
					t.Errorf("the command says that nothing is to be done: %t; printed\n%s", already, printed)
				}
			})
		})
	}
}

// TestAManualRollbackThatStandsStillIsReported with the command that goes on.
func TestAManualRollbackThatStandsStillIsReported(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, _ *engine.Engine) {
		c.interruptions = 1
		if _, err := rollBack(t.Context(), c, func(o *engine.RollbackOrder) { o.Allow = []rollback.DangerKind{rollback.DangerHook} }); err == nil {
			t.Fatal("the rollback was not interrupted")
		}
		wait(rollback.ManualPatience - 10*time.Second)
		if r := c.shopRecord(2); report.NeedsHelp(&r) {
			t.Errorf("help is asked for within %s: %s", rollback.ManualPatience, report.Summary(&r))
		}
		wait(30 * time.Second)
		r := c.shopRecord(2)
		again := r.RollbackCommand(1) // the record's allow is not signed
		if !report.NeedsHelp(&r) || !suggests(&r, again) || !suggests(&r, r.HelmRollbackCommand(1)) || report.Of(r, report.Settings{}).Commands[0].Line != again {
			t.Errorf("%s, commands %v; want help asked for, with %s first and plain Helm next", report.Summary(&r), report.Commands(&r), again)
		}
		if c.weight != "0" {
			t.Errorf("weight %s, want 0", c.weight)
		}
	})
}

// TestAManualRollbackReportsProgress: pods may take longer than ManualPatience.
func TestAManualRollbackReportsProgress(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, _ *engine.Engine) {
		c.ready = false
		asked := false
		c.saved = func(r rollback.Record) { asked = asked || report.NeedsHelp(&r) }
		time.AfterFunc(8*time.Minute, func() { c.change(func() { c.ready = true }) })
		if _, err := rollBack(t.Context(), c, func(o *engine.RollbackOrder) { o.PodTimeout = time.Hour }); err != nil || asked {
			t.Errorf("%v, help asked for: %t; want the command to wait for pods, and to report that it does", err, asked)
		}
	})
}

// TestTwoManualRollbacksAreOne: the second command waits for the first.
func TestTwoManualRollbacksAreOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.rollbackTime = 40 * time.Second
		var first error
		var running sync.WaitGroup
		running.Go(func() { _, first = rollBack(t.Context(), c) })
		wait(10 * time.Second)
		began := time.Now()
		printed, second := rollBack(t.Context(), c)
		waited := time.Since(began)
		running.Wait()
		if first != nil || c.rollbacks != 1 || len(c.recovered) > 0 {
			t.Errorf("%v: %d rollbacks, %v marked as failed; want the first to end undisturbed", first, c.rollbacks, c.recovered)
		}
		if waited < 30*time.Second || !strings.Contains(printed, "waiting until that command ends") || second != nil {
			t.Errorf("after %s: %v\n%s; want the second to wait, and then to find it done", waited, second, printed)
		}
	})
}

// TestALostClaimEndsAManualRollback: a frozen command wakes up after another run has finished.
func TestALostClaimEndsAManualRollback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.beforeShed = func() {
			c.beforeShed = nil
			c.change(func() { // as if the process had been frozen for a while
				r := &c.records[rollbacktest.Shop()][0]
				other := *r.Manual
				other.ID = "another run"
				r.Manual = &other
			})
		}
		_, err := rollBack(t.Context(), c)
		if err == nil || !strings.Contains(err.Error(), "taken it over") || len(c.weightsWritten) > 0 || c.rollbacks > 0 {
			t.Errorf("%v, weights written %v, %d rollbacks; want nothing written", err, c.weightsWritten, c.rollbacks)
		}
	})
}

func TestAManualRollbackChangesNothingIfItIsRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(c *cluster)
		order  func(o *engine.RollbackOrder)
		says   string
	}{
		"a danger": {func(c *cluster) {
			c.preflightResult.Dangers = []rollback.Danger{{Kind: rollback.DangerHook, What: "hook migrate ran"}, {Kind: rollback.DangerPVC, What: "it deletes orders"}}
		}, func(o *engine.RollbackOrder) { o.Allow = []rollback.DangerKind{rollback.DangerPVC} }, "hook migrate ran; to do it all the same: backout rollback canary-demo/canary-demo --to 1 --allow 'hook,pvc'"},
		"a danger that cannot be allowed": {func(c *cluster) {
			c.preflightResult.Dangers = []rollback.Danger{{Kind: rollback.DangerForeign, What: "it writes ClusterRole x"}}
		}, nil, "no option allows this"},
		"a Helm operation": {upgradeInFlight, nil, "another Helm operation is in progress"},
		"a tool that sets weights": {func(c *cluster) {
			c.routing.Owner = rollback.Owner{Tool: "Flagger", Object: "Canary shop", SetsWeights: true}
		}, nil, "sets the weight itself"},
		"no target":                    {func(c *cluster) { c.history[rollbacktest.Shop()] = c.history[rollbacktest.Shop()][:1] }, nil, "helm history"},
		"a target that does not exist": {func(*cluster) {}, func(o *engine.RollbackOrder) { o.To = 9 }, "no revision 9"},
		"no such release":              {func(c *cluster) { delete(c.history, rollbacktest.Shop()) }, nil, "no such Helm release"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				tc.change(c)
				if tc.order == nil {
					tc.order = func(*engine.RollbackOrder) {}
				}
				_, err := rollBack(t.Context(), c, tc.order)
				if err == nil || !strings.Contains(err.Error(), tc.says) {
					t.Errorf("got %v; want a refusal that says %q", err, tc.says)
				}
				if len(c.weightsWritten) > 0 || c.rollbacks > 0 || len(c.records[rollbacktest.Shop()]) > 0 {
					t.Errorf("weights written %v, %d rollbacks, records %v; want nothing", c.weightsWritten, c.rollbacks, c.records)
				}
			})
		})
	}
}

// TestARollbackOfBackoutIsNotDisturbed: either of the two claims the record, not both.
func TestARollbackOfBackoutIsNotDisturbed(t *testing.T) {
	t.Run("backout was first", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster()
			storeRecord(t, c, rollbackToV2(), claimRollback)
			if _, err := rollBack(t.Context(), c); err == nil || !strings.Contains(err.Error(), "backout is rolling it back") || len(c.weightsWritten) > 0 {
				t.Errorf("got %v, weights written %v; want a refusal", err, c.weightsWritten)
			}
		})
	})
	t.Run("the operator was first", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster()
			held := 0
			routers := heldBy{c, func() {
				if held++; held == 2 { // backout plans the rollback that it has decided on; the first one is the preflight's
					ctx, stop := context.WithCancel(t.Context())
					c.change(func() { c.afterShed = stop })
					_, _ = rollBack(ctx, c)
				}
			}}
			e := newEngine(t, c, rollbacktest.Policy(), func(o *engine.Options) { o.Traffic = routers })
			run(t, e)
			deliver(t, e, alert("rollback"))
			wait(time.Minute)
			if r := c.shopRecord(2); r.Rollback != nil || c.rollbacks != 0 || !r.Manual.Active() {
				t.Errorf("rollback %+v, %d rollbacks, manual %+v; want backout to leave the release to the operator who was first", r.Rollback, c.rollbacks, r.Manual)
			}
		})
	})
}

// heldBy calls before whenever a rollback is planned.
type heldBy struct {
	*cluster

	before func()
}

func (h heldBy) Hold(ctx context.Context, k rollback.Key, m rollback.Manifest) (func(rollback.Object), error) {
	h.before()
	return h.cluster.Hold(ctx, k, m)
}

// TestOptingOutLeavesAManualRollbackAlone: the revision that Helm works on for the operator is
// not marked as failed.
func TestOptingOutLeavesAManualRollbackAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		storeRecord(t, c, rollbackToV2(), func(r *rollback.Record) {
			r.Manual = &rollback.ManualRollback{Operator: "ann", ID: "a", Target: 1, Started: time.Now(), Progress: time.Now()}
		})
		c.addRevision("v2", "Rollback to 1", "uid-2")
		c.newest().Status = rollback.StatusPendingRollback
		p := rollbacktest.Policy()
		p.Releases = []string{"elsewhere/*"}
		run(t, newEngine(t, c, p))
		wait(time.Minute)
		if len(c.recovered) > 0 {
			t.Errorf("revisions %v were marked as failed under the operator's command", c.recovered)
		}
	})
}

// TestAnUpgradeEndsTheClaimOfAManualRollback: the release is backout's again, and the weight that
// the command has left at zero is restored for the new content.
func TestAnUpgradeEndsTheClaimOfAManualRollback(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, _ *engine.Engine) {
		c.rollbackErrors = []error{errors.New("the webhook refuses it")}
		if _, err := rollBack(t.Context(), c); err == nil {
			t.Fatal("the rollback was not refused")
		}
		c.upgrade("v4", "Upgrade complete")
		wait(time.Minute)
		if r := c.shopRecord(2); r.Manual.Active() || r.Hold.Active() || c.weight != "20" {
			t.Errorf("manual %+v, hold %+v, weight %s; want the claim and the hold ended, and v4's weight", r.Manual, r.Hold, c.weight)
		}
	})
}

// TestAManualRollbackBelowAFailedUpgrade: what another client's upgrade has left failed is not
// what runs; the operator may go back to that, or further.
func TestAManualRollbackBelowAFailedUpgrade(t *testing.T) {
	for to, suspect := range map[int]int{1: 2, 2: 3} {
		synctest.Test(t, func(t *testing.T) {
			c := newCluster()
			c.upgrade("v4", "Upgrade \"canary-demo\" failed: timed out")
			h := c.history[rollbacktest.Shop()]
			h[0].Status, h[1].Status = rollback.StatusFailed, rollback.StatusDeployed
			printed, err := rollBack(t.Context(), c, func(o *engine.RollbackOrder) { o.To = to })
			if r := c.shopRecord(suspect); err != nil || c.rollbacks != 1 || r.Manual == nil || r.Manual.Target != to {
				t.Errorf("to %d: %v, %d rollbacks, manual %+v; want revision %d rolled back:\n%s", to, err, c.rollbacks, r.Manual, suspect, printed)
			}
		})
	}
}

// TestAManualRollbackDoesNotEndAnotherHold: the new revision may have one of its own.
func TestAManualRollbackDoesNotEndAnotherHold(t *testing.T) {
	for name, held := range map[string]func(*rollback.Record){
		"a hold": func(r *rollback.Record) { r.Hold = &rollback.Hold{Since: time.Now()} },
		"a shed": func(r *rollback.Record) { r.Shed = doneStep() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				c.beforeRestore = func() {
					r := rollback.NewRecord(rollbacktest.Shop(), *c.newest(), nil, time.Now())
					held(&r)
					if _, err := c.Save(t.Context(), r); err != nil {
						t.Error(err)
					}
				}
				_, err := rollBack(t.Context(), c)
				if err == nil || !strings.Contains(err.Error(), "backout unhold") || c.weight != "0" {
					t.Errorf("weight %s, %v; want the weight to stay zero, and the command that ends it", c.weight, err)
				}
			})
		})
	}
}
