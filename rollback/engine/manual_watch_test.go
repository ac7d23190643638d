package engine_test

import (
	"context"
	"reflect"
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

// TestAClaimIsNotLeftAloneForLongerByANewLeader: the patience goes on where the last leader was.
func TestAClaimIsNotLeftAloneForLongerByANewLeader(t *testing.T) {
	for _, skew := range []time.Duration{-time.Hour, 0, time.Hour} {
		t.Run(skew.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				claimManually(t, c, time.Now().Add(skew))
				began := time.Now()
				for range 3 {
					stop := run(t, newEngine(t, c, rollbacktest.Policy()))
					wait(35 * time.Second)
					stop()
					if m := c.shopRecord(2).Manual; !m.Active() {
						t.Fatalf("the claim has ended after %s: %+v", time.Since(began), m)
					}
				}
				run(t, newEngine(t, c, rollbacktest.Policy()))
				wait(rollback.ManualPatience + 5*time.Second - time.Since(began))
				if m := c.shopRecord(2).Manual; m.Active() {
					t.Errorf("the claim has been without progress for %s, and is active: %+v", time.Since(began), m)
				}
			})
		})
	}
}

// TestAClaimThatReportsAgainIsNotQuiet: what an earlier leader has stored ends with a report.
func TestAClaimThatReportsAgainIsNotQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		claimManually(t, c, time.Now())
		stop := run(t, newEngine(t, c, rollbacktest.Policy()))
		wait(100 * time.Second)
		stop()
		if m := c.shopRecord(2).Manual; m.Quiet.IsZero() {
			t.Fatalf("no leader has stored since when the claim is quiet: %+v", m)
		}
		c.reportManually(func(m *rollback.ManualRollback) { m.Progress, m.Quiet = time.Now(), time.Time{} })
		run(t, newEngine(t, c, rollbacktest.Policy()))
		wait(100 * time.Second)
		if m := c.shopRecord(2).Manual; !m.Active() {
			t.Errorf("a claim that has reported 100 seconds ago has ended: %+v", m)
		}
	})
}

// TestAClaimIsNotEndedByTheClockOfAnEarlierLeader: each leader hears nothing for a while itself.
func TestAClaimIsNotEndedByTheClockOfAnEarlierLeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		claimManually(t, c, time.Now())
		c.reportManually(func(m *rollback.ManualRollback) { m.Quiet = time.Now().Add(-time.Hour) })
		run(t, newEngine(t, c, rollbacktest.Policy()))
		wait(10 * time.Second)
		if m := c.shopRecord(2).Manual; !m.Active() || !m.Stalled.IsZero() {
			t.Errorf("the claim was given up before a report was due: %+v", m)
		}
	})
}

// TestARunThatReportsIsNotQuiet: the command takes back what a leader has stored meanwhile.
func TestARunThatReportsIsNotQuiet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.duringRollback = func() {
			c.reportManually(func(m *rollback.ManualRollback) { m.Quiet = time.Now() })
		}
		if _, err := rollBack(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		if m := c.shopRecord(2).Manual; m == nil || !m.Quiet.IsZero() {
			t.Errorf("the claim is %+v, want one that is not quiet", m)
		}
	})
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

// announce stores a claim of ann whose command has been killed at its shed.
func announce(t *testing.T, c *cluster) {
	t.Helper()
	storeRecord(t, c, rollback.OrderedHold(rollbacktest.Shop(), "ann", time.Now()), func(r *rollback.Record) {
		r.Signals = nil
		r.Manual = &rollback.ManualRollback{Operator: "ann", ID: "a", Target: 1, Started: time.Now(), Progress: time.Now()}
		r.Hold, r.Shed = &rollback.Hold{Since: time.Now()}, &rollback.Step{Operator: "ann", Started: time.Now()}
	})
}

// failAtShed has ann's command fail before it has changed anything.
func failAtShed(t *testing.T, c *cluster) {
	t.Helper()
	c.change(func() { c.shedErrors = []error{errAPIServer} })
	_, err := rollBack(t.Context(), c)
	if r := c.shopRecord(2); err == nil || strings.Contains(err.Error(), "stays zero") || r.Manual.Active() || r.Hold.Active() {
		t.Errorf("got %v, manual %+v, hold %+v; want an error that does not say that the weight is zero, and the claim ended", err, r.Manual, r.Hold)
	}
}

// TestAClaimThatHasChangedNothingEnds: backout acts on alerts again.
func TestAClaimThatHasChangedNothingEnds(t *testing.T) {
	for name, begin := range map[string]func(t *testing.T, c *cluster){
		"the command is killed before its shed": announce,
		"the shed fails":                        failAtShed,
		"the shed fails after a hold that was lifted": func(t *testing.T, c *cluster) {
			storeRecord(t, c, rollback.OrderedHold(rollbacktest.Shop(), "ann", time.Now()), func(r *rollback.Record) {
				r.Signals, r.Shed, r.Closed = nil, doneStep(), time.Now()
				r.Hold = &rollback.Hold{Since: time.Now(), Ended: time.Now(), Lifted: true}
			})
			failAtShed(t, c)
		},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
				begin(t, c)
				wait(rollback.ManualPatience + time.Minute)
				if r := c.shopRecord(2); r.Manual.Active() || r.Hold.Active() || r.Closed.IsZero() || r.Shed.Succeeded() || report.NeedsHelp(&r) || len(c.weightsWritten) > 0 {
					t.Errorf("manual %+v, hold %+v, weights written %v, %s; want the claim and its hold ended, and the record closed", r.Manual, r.Hold, c.weightsWritten, report.Summary(&r))
				}
				deliver(t, e, alert("rollback"))
				wait(time.Minute)
				if r := c.shopRecord(2); c.rollbacks != 1 || r.Rollback == nil || c.weight != "20" {
					t.Errorf("%d rollbacks, weight %s, %s; want backout to roll back for the alert", c.rollbacks, c.weight, report.Summary(&r))
				}
			})
		})
	}
}

// TestAClaimThatMayHaveSetTheWeightStays: the command was killed right after its shed.
func TestAClaimThatMayHaveSetTheWeightStays(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, _ *engine.Engine) {
		announce(t, c)
		c.change(func() { c.setWeight("0") })
		wait(rollback.ManualPatience + time.Minute)
		if r := c.shopRecord(2); !r.Manual.Active() || !r.Hold.Active() || c.weight != "0" || !report.NeedsHelp(&r) {
			t.Errorf("manual %+v, hold %+v, weight %s; want the claim to stay, and help asked for", r.Manual, r.Hold, c.weight)
		}
	})
}
