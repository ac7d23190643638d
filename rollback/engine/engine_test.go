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

func TestAnAlertShedsRollsBackAndRestores(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		if _, ok := c.record(rollbacktest.Shop(), 2); !ok {
			t.Error("Accept returned before the record was stored")
		}
		wait(15 * time.Minute)

		r := c.shopRecord(2)
		if !r.Shed.Succeeded() || !r.Rollback.Succeeded() || !r.Restore.Succeeded() || !r.Verify.Succeeded() || r.Closed.IsZero() {
			t.Errorf("not all steps are done: %s", report.Summary(&r))
		}
		if r.Target != 1 || r.Made != 3 {
			t.Errorf("rolled back to revision %d as revision %d, want 1 as 3", r.Target, r.Made)
		}
		if want := []string{"0", "0", "20"}; !slices.Equal(c.weightsWritten, want) {
			t.Errorf("weights written: %v, want %v: zero by the shed, held at zero by the rollback, then the weight that the target declares", c.weightsWritten, want)
		}
		if len(r.Weights) != 1 || r.Weights[0].From != "20" {
			t.Errorf("the record does not contain the original weight: %v", r.Weights)
		}
	})
}

func TestMilestonesAreInOrder(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(15 * time.Minute)
		r := c.shopRecord(2)
		var got []report.MilestoneName
		for _, m := range report.Milestones(&r) {
			got = append(got, m.Name)
		}
		want := []report.MilestoneName{
			report.MilestoneFired, report.MilestoneReceived, report.MilestoneZero, report.MilestoneRolledBack, report.MilestoneWeightRestored, report.MilestoneVerified,
		}
		if !slices.Equal(got, want) {
			t.Errorf("milestones in order: got %v, want %v", got, want)
		}
		if _, ok := report.TimeTo(&r, report.MilestoneZero); !ok {
			t.Error("the time to zero is unknown, though the weight was set to zero")
		}
		if _, ok := report.TimeTo(&r, report.MilestoneHoldEnded); ok {
			t.Error("a milestone that was not reached has a time")
		}
		if r.Trace == nil || len(r.Trace.Candidates) != 1 || r.Trace.Candidates[0].Reason != "" {
			t.Errorf("the record does not contain the trace of its decision: got %+v", r.Trace)
		}
		if !slices.ContainsFunc(r.Trace.Checks, func(l rollback.TraceCheck) bool { return strings.HasSuffix(l.Result, "Prometheus says that it fires") }) {
			t.Errorf("the trace is not that of the last decision, with the answer of Prometheus: got %+v", r.Trace.Checks)
		}
	}, func(c *cluster) {
		c.answers, c.trafficRate = answers(rollback.AnswerFiring, rollback.AnswerQuiet), 1
	})
}

func TestTheSameAlertAnyNumberOfTimesGivesOneRollback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.rollbackTime = 2 * time.Second
		// Two replicas: they share the cluster, nothing else.
		engines := []*engine.Engine{newEngine(t, c, rollbacktest.Policy()), newEngine(t, c, rollbacktest.Policy(), follower)}
		for _, e := range engines {
			run(t, e)
		}
		same := alert("rollback")
		var senders sync.WaitGroup
		for i := range 50 {
			senders.Go(func() {
				wait(time.Duration(i) * 100 * time.Millisecond)
				deliver(t, engines[i%2], same)
			})
		}
		senders.Wait()
		wait(20 * time.Minute)
		deliver(t, engines[0], same)
		wait(20 * time.Minute)
		if c.rollbacks != 1 {
			t.Errorf("%d rollbacks, want exactly 1", c.rollbacks)
		}
		if r := c.shopRecord(2); r.Rollback.Failed || !r.Rollback.Succeeded() || len(r.Signals) != 1 {
			t.Errorf("%s, %d signals; want one signal and one successful rollback", report.Summary(&r), len(r.Signals))
		}
	})
}

func TestANewProcessContinuesWhereTheLastOneStopped(t *testing.T) {
	rollBack := func(ctx context.Context, c *cluster) error {
		suspect := *c.newest()
		_, err := c.RollBack(ctx, rollback.Plan{Key: rollbacktest.Shop(), Suspect: suspect, Newest: suspect, Target: 1, Hold: setToZero})
		return err
	}
	for name, stopped := range map[string]func(t *testing.T, c *cluster, r *rollback.Record){
		"signal stored, no step begun": func(*testing.T, *cluster, *rollback.Record) {},
		"shed done": func(_ *testing.T, c *cluster, r *rollback.Record) {
			c.weight, r.Shed = "0", doneStep()
		},
		"rollback claimed, not written": func(_ *testing.T, c *cluster, r *rollback.Record) {
			c.weight, r.Shed = "0", doneStep()
			claimRollback(r)
		},
		"rollback interrupted": func(t *testing.T, c *cluster, r *rollback.Record) {
			c.weight, r.Shed, c.interruptions = "0", doneStep(), 1
			claimRollback(r)
			if err := rollBack(t.Context(), c); err == nil {
				t.Fatal("the rollback was not interrupted")
			}
		},
		"rollback written, not recorded": func(t *testing.T, c *cluster, r *rollback.Record) {
			c.weight, r.Shed = "0", doneStep()
			claimRollback(r)
			if err := rollBack(t.Context(), c); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				storeRecord(t, c, rollbackToV2(), func(r *rollback.Record) { stopped(t, c, r) })
				run(t, newEngine(t, c, rollbacktest.Policy()))
				wait(15 * time.Minute)
				if r := c.shopRecord(2); c.rollbacks != 1 || c.weight != "20" || !r.Rollback.Succeeded() || r.Closed.IsZero() {
					t.Errorf("%d rollbacks, weight %s, %s; want one rollback, the target's weight, and the record closed", c.rollbacks, c.weight, report.Summary(&r))
				}
			})
		})
	}
}

func TestRunFinishesTheCurrentStepBeforeItReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.rollbackTime = time.Minute // longer than any other step may take
		e := newEngine(t, c, rollbacktest.Policy())
		stop := run(t, e)
		deliver(t, e, alert("rollback"))
		wait(2 * time.Second)
		stop()
		if r := c.shopRecord(2); !r.Rollback.Succeeded() {
			t.Errorf("%+v; Run returned in the middle of a rollback", r.Rollback)
		}
	})
}

func TestAShedIsRecordedBeforeRunReturns(t *testing.T) {
	for name, begin := range map[string]func(t *testing.T, c *cluster, e *engine.Engine){
		"by the fast path": func(t *testing.T, _ *cluster, e *engine.Engine) { deliver(t, e, alert("rollback")) },
		"by the leader":    func(t *testing.T, c *cluster, _ *engine.Engine) { storeRecord(t, c, rollbackToV2()) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				e := newEngine(t, c, rollbacktest.Policy())
				ctx, stop := context.WithCancel(t.Context())
				c.afterShed = stop
				begin(t, c, e)
				if err := e.Run(ctx); err != nil {
					t.Fatal(err)
				}
				if r := c.shopRecord(2); !r.Shed.Succeeded() || len(r.Weights) != 1 {
					t.Errorf("%+v, weights %v; the original weight is lost with the process", r.Shed, r.Weights)
				}
			})
		})
	}
}
