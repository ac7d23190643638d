package engine_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

func TestAnInterruptedRollbackIsRecoveredAndRepeated(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(time.Minute)
		r := c.shopRecord(2)
		if c.rollbacks != 1 || r.Made != 5 || !r.Rollback.Succeeded() || !slices.Equal(c.recovered, []int{3, 4}) {
			t.Errorf("%d rollbacks, recovered %v, %s; want revisions 3 and 4 marked as failed, and 5 made", c.rollbacks, c.recovered, report.Summary(&r))
		}
	}, func(c *cluster) { c.interruptions = 2 })
}

func TestGivingUpLeavesNothingPending(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(time.Hour)
		r := c.shopRecord(2)
		if newest := c.newest(); newest.Status.Pending() || !r.Rollback.Failed || newest.Number > 8 {
			t.Errorf("revision %d is %s, %s; want it marked as failed, and the rollback too", newest.Number, newest.Status, report.Summary(&r))
		}
	}, func(c *cluster) { c.interruptions = 1000 })
}

func TestAnOptOutLeavesNothingPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		storeRecord(t, c, rollbackToV2(), claimRollback)
		c.addRevision("v2", "Rollback to 1", "uid-2")
		c.newest().Status = rollback.StatusPendingRollback
		p := rollbacktest.Policy()
		p.Releases = nil
		run(t, newEngine(t, c, p))
		wait(time.Minute)
		if got := c.newest().Status; got != rollback.StatusFailed {
			t.Errorf("revision 3, which backout made, is %s after the release was opted out, want failed", got)
		}
	})
}

func TestTheSameRollbackByAnotherReplicaIsNotAFailure(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(time.Minute)
		if r := c.shopRecord(2); !r.Rollback.Succeeded() || r.Made != 3 {
			t.Errorf("%s; want revision 3 taken for the planned rollback", report.Summary(&r))
		}
	}, func(c *cluster) {
		c.duringRollback = func() { c.addRevision("v2", "Rollback to 1", "uid-2") }
	})
}

func TestARevisionOfAnotherClientIsLeftAlone(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(time.Hour)
		r := c.shopRecord(2)
		if c.rollbacks != 0 || !r.Rollback.Failed || r.Closed.IsZero() || !strings.Contains(r.Rollback.Error, "another client made revision 3") {
			t.Errorf("%d rollbacks, %s; want none, and the reason recorded", c.rollbacks, report.Summary(&r))
		}
	}, func(c *cluster) {
		c.duringRollback = func() { c.upgrade("v4", "Upgrade complete") }
	})
}

func TestAPendingRevisionOfAnotherClientIsNeverRecovered(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(time.Hour)
		r := c.shopRecord(2)
		if len(c.recovered) != 0 || c.rollbacks != 0 || !strings.Contains(r.Rollback.Error, "another client made revision 3") {
			t.Errorf("recovered %v, %d rollbacks, %s; want the other client's rollback left alone and reported", c.recovered, c.rollbacks, report.Summary(&r))
		}
	}, func(c *cluster) {
		c.duringRollback = func() {
			c.upgrade("v2", "Rollback to 1")
			c.change(func() { c.newest().Status = rollback.StatusPendingRollback })
		}
	})
}

func TestARevisionOfAnotherClientIsNotTakenForAFailedRollback(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(time.Minute)
		if r := c.shopRecord(2); strings.Contains(r.Rollback.Error, "helm rollback") {
			t.Errorf("the record suggests to roll back another client's fix: %s", r.Rollback.Error)
		}
	}, func(c *cluster) {
		c.duringRollback = func() {
			c.upgrade("v4", "Upgrade complete")
			c.rollbackErrors = []error{errors.New("read revision 2: timeout")}
		}
	})
}

// The rollback was claimed; then backout died, and an operator upgraded to v4.
func TestAnUpgradeWhileNoReplicaLedIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		storeRecord(t, c, rollbackToV2(), claimRollback)
		c.upgrade("v4", "Upgrade complete")
		run(t, newEngine(t, c, rollbacktest.Policy()))
		wait(time.Hour)
		r := c.shopRecord(2)
		if c.rollbacks != 0 || r.Made != 0 || !r.Rollback.Failed || len(c.weightsWritten) != 0 {
			t.Errorf("%d rollbacks, weights written %v, %s; want v4 left alone", c.rollbacks, c.weightsWritten, report.Summary(&r))
		}
	})
}
