package engine_test

import (
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

// leadsIf has the engine lead while the condition holds.
func leadsIf(condition func() bool) func(*engine.Options) {
	return func(o *engine.Options) {
		o.Leads = func() error {
			if condition() {
				return nil
			}
			return errors.New("another replica leads")
		}
	}
}

func TestAFollowerShedsWhatItStoredAndDoesNothingElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		e := newEngine(t, c, rollbacktest.Policy(), follower)
		run(t, e)
		deliver(t, e, alert("rollback"))
		wait(time.Hour)
		if c.weight != "0" || c.rollbacks != 0 || c.preflights != 0 {
			t.Errorf("weight %s, %d rollbacks, %d preflights; want the shed and nothing else", c.weight, c.rollbacks, c.preflights)
		}
	})
}

func TestAFollowerShedsDespiteAnOpenRecordOfAnOlderRevision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		storeRecord(t, c, rollback.Decision{Verdict: rollback.Baked, Shed: true, Hold: true})
		c.upgrade("v4", "Upgrade complete")
		e := newEngine(t, c, rollbacktest.Policy(), follower)
		run(t, e)
		a := alert("rollback")
		a.Labels["version"] = "v4"
		deliver(t, e, a)
		wait(time.Minute)
		if c.weight != "0" {
			t.Errorf("weight %s; want the canary shed by the replica that stored the signal", c.weight)
		}
	})
}

func TestTheLeaderContinuesWhatAnotherReplicaStored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		leading, following := newEngine(t, c, rollbacktest.Policy()), newEngine(t, c, rollbacktest.Policy(), follower)
		run(t, leading)
		run(t, following)
		deliver(t, following, alert("rollback"))
		leading.OnRecord(c.shopRecord(2))
		wait(time.Second)
		if c.rollbacks != 1 {
			t.Errorf("%d rollbacks a second after the leader got the record, want 1", c.rollbacks)
		}
	})
}

func TestANewLeaderContinuesOpenRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		storeRecord(t, c, rollbackToV2())
		var leads atomic.Bool
		e := newEngine(t, c, rollbacktest.Policy(), leadsIf(leads.Load))
		run(t, e)
		wait(time.Hour)
		if len(c.weightsWritten) != 0 {
			t.Fatalf("weights written %v by a replica that neither leads nor stored the signal", c.weightsWritten)
		}
		leads.Store(true)
		e.StartLeading()
		wait(time.Second)
		if c.rollbacks != 1 {
			t.Errorf("%d rollbacks a second after the replica became the leader, want 1", c.rollbacks)
		}
	})
}

func TestALeaderThatLosesTheLeaseStopsWriting(t *testing.T) {
	for name, during := range map[string]func(c *cluster, lose func()){
		"during the preflight": func(c *cluster, lose func()) { c.duringPreflight = lose },
		"while Helm works":     func(c *cluster, lose func()) { c.duringRollback = lose },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				var lost atomic.Bool
				e := newEngine(t, c, rollbacktest.Policy(), leadsIf(func() bool { return !lost.Load() }))
				run(t, e)
				during(c, func() { lost.Store(true) })
				deliver(t, e, alert("rollback"))
				wait(time.Hour)
				r := c.shopRecord(2)
				if r.Rollback.Finished() || slices.Contains(c.weightsWritten, "20") {
					t.Errorf("%+v, weights written %v; want neither the record nor the weight written after the lease was lost", r.Rollback, c.weightsWritten)
				}
				if c.duringPreflight != nil && (r.Rollback != nil || c.rollbacks != 0) {
					t.Errorf("%+v, %d rollbacks; want none begun after the lease was lost", r.Rollback, c.rollbacks)
				}
			})
		})
	}
}
