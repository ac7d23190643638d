package engine_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

func TestAnotherRevisionMakesTheRecordStale(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(10 * time.Second)
		if c.weight != "0" || c.rollbacks != 0 {
			t.Errorf("weight %s, %d rollbacks during an upgrade, want 0 and none", c.weight, c.rollbacks)
		}
		c.upgrade("v4", "Upgrade complete")
		wait(10 * time.Second)
		r := c.shopRecord(2)
		if r.Decision().Verdict != rollback.Stale || r.Closed.IsZero() || c.rollbacks != 0 {
			t.Errorf("%s, %d rollbacks; want v4 left alone", report.Summary(&r), c.rollbacks)
		}
	}, upgradeInFlight)
}

func TestARollbackWaitsForAnUpgradeInFlight(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(10 * time.Second)
		c.change(func() { c.newest().Status = rollback.StatusDeployed })
		wait(10 * time.Second)
		if c.rollbacks != 1 {
			t.Errorf("%d rollbacks after the upgrade ended, want 1", c.rollbacks)
		}
	}, upgradeInFlight)
}

func TestASettlingAlertIsDecidedAgainAfterAShed(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("shed"), settlingAlert())
		wait(time.Minute)
		if rollbacks, weight := c.progress(); rollbacks != 0 || weight != "0" {
			t.Fatalf("%d rollbacks, weight %s before the revision has settled; want a shed only", rollbacks, weight)
		}
		wait(10 * time.Minute)
		if c.rollbacks != 1 {
			t.Errorf("%d rollbacks after the revision has settled and while the alert fires, want 1", c.rollbacks)
		}
	})
}

func TestAWaitingReleaseIsReadOnceASecond(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(30 * time.Minute)
		c.change(func() { c.readyCalls = 0 })
		wait(time.Minute)
		if c.readyCalls > 90 {
			t.Errorf("pods checked %d times in a minute, after half an hour of waiting", c.readyCalls)
		}
	}, func(c *cluster) { c.ready = false })
}

func TestAnUninstalledReleaseClosesItsRecord(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(time.Minute)
		c.change(func() { delete(c.history, rollbacktest.Shop()) })
		wait(time.Minute)
		if r := c.shopRecord(2); r.Closed.IsZero() {
			t.Errorf("%s; want the record closed after helm uninstall", report.Summary(&r))
		}
	}, func(c *cluster) { c.ready = false })
}

func TestAnOptOutClosesTheRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := newCluster(), rollbacktest.Policy()
		storeRecord(t, c, rollbackToV2())
		p.Releases = []string{"canary-demo/shop"}
		run(t, newEngine(t, c, p))
		wait(time.Hour)
		r := c.shopRecord(2)
		if c.rollbacks != 0 || len(c.weightsWritten) != 0 || r.Closed.IsZero() || r.Decision().Verdict != rollback.NotAllowed {
			t.Errorf("%d rollbacks, weights written %v, %s; want nothing touched", c.rollbacks, c.weightsWritten, report.Summary(&r))
		}
	})
}

func TestObserveModeRecordsAndTouchesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := newCluster(), rollbacktest.Policy()
		p.Mode = rollback.ModeObserve
		e := newEngine(t, c, p)
		run(t, e)
		deliver(t, e, alert("rollback"))
		wait(time.Hour)
		if c.rollbacks != 0 || len(c.weightsWritten) != 0 {
			t.Errorf("%d rollbacks, weights written %v in observe mode", c.rollbacks, c.weightsWritten)
		}
		if r, ok := c.record(rollbacktest.Shop(), 2); !ok || r.Decision().Verdict != rollback.Observe || r.Closed.IsZero() {
			t.Errorf("%s; want a closed record of what was observed", report.Summary(&r))
		}
	})
}

func TestObserveModeFinishesNoStep(t *testing.T) {
	for name, change := range map[string]func(*rollback.Record){
		"decided":          func(*rollback.Record) {},
		"held, not shed":   func(r *rollback.Record) { r.Decisions[0].Verdict, r.Decisions[0].Hold = rollback.Baked, true },
		"rollback claimed": claimRollback,
		"shed, not held": func(r *rollback.Record) {
			r.Shed, r.Weights = doneStep(), []rollback.Weight{{From: "20", To: "0"}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, p := newCluster(), rollbacktest.Policy()
				storeRecord(t, c, rollbackToV2(), change)
				p.Mode = rollback.ModeObserve
				run(t, newEngine(t, c, p))
				wait(time.Hour)
				if c.rollbacks != 0 || len(c.weightsWritten) != 0 {
					t.Errorf("%d rollbacks, weights written %v in observe mode", c.rollbacks, c.weightsWritten)
				}
			})
		})
	}
}
