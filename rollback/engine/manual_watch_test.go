package engine_test

import (
	"context"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

// readBy calls before once, ahead of the first read of a single record.
type readBy struct {
	*cluster

	before func()
}

func (r readBy) Record(ctx context.Context, k rollback.Key, revision int) (rollback.Record, bool, error) {
	r.before()
	return r.cluster.Record(ctx, k, revision)
}

// claimManually stores that ann rolls the demo's release back, with her last progress at.
func claimManually(t *testing.T, c *cluster, at time.Time) {
	t.Helper()
	storeRecord(t, c, rollbackToV2(), func(r *rollback.Record) {
		r.Manual = &rollback.ManualRollback{Operator: "ann", ID: "a", Target: 1, Started: at, Progress: at}
	})
}

// TestAnOvertakenClaimIsEndedOnce: the record may change between the look at it and the write.
func TestAnOvertakenClaimIsEndedOnce(t *testing.T) {
	ended := rollback.ManualRollback{Operator: "ann", ID: "a", Target: 1, Ended: time.Unix(1, 0), Note: "done"}
	newer := rollback.ManualRollback{Operator: "bob", ID: "b", Target: 1, Started: time.Unix(1, 0), Progress: time.Unix(1, 0)}
	for name, manual := range map[string]*rollback.ManualRollback{
		"an editor has removed it": nil,
		"it has ended":             &ended,
		"it is another one":        &newer,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				claimManually(t, c, time.Now())
				c.upgrade("v4", "Upgrade complete")
				edit := sync.OnceFunc(func() { c.change(func() { c.records[rollbacktest.Shop()][0].Manual = manual }) })
				run(t, newEngine(t, c, rollbacktest.Policy(), func(o *engine.Options) { o.Ledger = readBy{c, edit} }))
				wait(500 * time.Millisecond) // it looks again after a second
				if got := c.shopRecord(2).Manual; !reflect.DeepEqual(got, manual) {
					t.Errorf("manual %+v; want what the other client wrote: %+v", got, manual)
				}
			})
		})
	}
}

// beatManually has ann's command report for that long, by a clock that is wrong by skew, and then
// end.
func beatManually(c *cluster, skew, working time.Duration) {
	for began := time.Now(); time.Since(began) < working; time.Sleep(5 * time.Second) {
		c.reportManually(func(m *rollback.ManualRollback) { m.Progress, m.Stalled = time.Now().Add(skew), time.Time{} })
	}
	c.reportManually(func(m *rollback.ManualRollback) { m.Ended = time.Now() })
}

// reportManually changes the claim as ann's command would.
func (c *cluster) reportManually(change func(*rollback.ManualRollback)) {
	c.change(func() {
		r := &c.records[rollbacktest.Shop()][0]
		mine := *r.Manual
		change(&mine)
		r.Manual, r.Version = &mine, r.Version+"'"
	})
}

// TestAClaimIsNotJudgedByItsClock: the clock of an operator's machine may be wrong.
func TestAClaimIsNotJudgedByItsClock(t *testing.T) {
	for _, skew := range []time.Duration{-time.Hour, -16 * time.Second, 16 * time.Second, time.Hour} {
		t.Run(skew.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				claimManually(t, c, time.Now().Add(skew))
				var stalled bool
				c.saved = func(r rollback.Record) { stalled = stalled || r.Manual != nil && !r.Manual.Stalled.IsZero() }
				run(t, newEngine(t, c, rollbacktest.Policy()))
				var working sync.WaitGroup
				working.Go(func() { beatManually(c, skew, 4*time.Minute) })
				began := time.Now()
				_, err := rollBack(t.Context(), c) // then backout may be faster
				if time.Since(began) < 4*time.Minute || stalled {
					t.Errorf("%v after %s, reported as standing still: %t; want the second run to wait for the first", err, time.Since(began), stalled)
				}
				working.Wait()
			})
		})
	}
}

// TestARunThatIsDeadIsTakenOver: without a report for a while, whatever its clock said.
func TestARunThatIsDeadIsTakenOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		claimManually(t, c, time.Now().Add(time.Hour))
		began := time.Now()
		if _, err := rollBack(t.Context(), c); err != nil || c.rollbacks != 1 || time.Since(began) > 20*time.Second {
			t.Errorf("%v after %s, %d rollbacks; want the run taken over", err, time.Since(began), c.rollbacks)
		}
	})
}

// TestAClaimThatGoesOnAgainIsNotDead: it may report right before the other run claims.
func TestAClaimThatGoesOnAgainIsNotDead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		claimManually(t, c, time.Now())
		c.beforePreflight = func() {
			r := &c.records[rollbacktest.Shop()][0]
			mine := *r.Manual
			mine.Progress = time.Now()
			r.Manual = &mine
		}
		if _, err := rollBack(t.Context(), c); err == nil || c.rollbacks != 0 || len(c.weightsWritten) > 0 {
			t.Errorf("%v, %d rollbacks, weights written %v; want nothing written", err, c.rollbacks, c.weightsWritten)
		}
	})
}
