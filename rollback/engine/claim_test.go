package engine_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

// announced is the order of an operator whose command has not set the weight yet.
func announced(r *rollback.Record) {
	now := time.Now()
	r.Signals = []rollback.Signal{{Alert: "hold", Operator: "ann", Level: rollback.LevelShed, Fingerprint: "manual", StartsAt: now, Received: now, LastSeen: now}}
	r.Shed = &rollback.Step{Operator: "ann", Started: now}
}

func ordered() rollback.Decision { return rollback.OrderedHold(rollbacktest.Shop(), "ann", time.Now()) }

// Any client that may write ConfigMaps can leave an order; the command that gives one has the
// operator's own right to write the route.
func TestAnOrderInARecordStartsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		storeRecord(t, c, ordered(), announced)
		run(t, newEngine(t, c, rollbacktest.Policy()))
		wait(time.Hour)
		r := c.shopRecord(2)
		if len(c.weightsWritten) != 0 || c.rollbacks != 0 || r.Closed.IsZero() {
			t.Errorf("weights written %v, %d rollbacks, %s; want nothing done, and the record closed", c.weightsWritten, c.rollbacks, report.Summary(&r))
		}
	})
}

func TestTheHoldOfACommandThatDiedIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.weight = "0"
		storeRecord(t, c, ordered(), announced)
		run(t, newEngine(t, c, rollbacktest.Policy()))
		wait(time.Hour)
		if r := c.shopRecord(2); !r.Hold.Active() || !r.Closed.IsZero() || len(c.weightsWritten) != 0 {
			t.Errorf("hold %+v, weights written %v, %s; want the zero kept as a hold", r.Hold, c.weightsWritten, report.Summary(&r))
		}
	})
}

// An alert that asks for more than the operator's hold gets it.
func TestAnAlertDuringAnOperatorsHoldRollsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		if _, err := manual(c).Hold(t.Context(), rollbacktest.Shop(), "looks odd"); err != nil {
			t.Fatal(err)
		}
		e := newEngine(t, c, rollbacktest.Policy())
		run(t, e)
		deliver(t, e, alert("shed"))
		wait(time.Minute)
		if r := c.shopRecord(2); c.rollbacks != 0 || !r.Hold.Active() {
			t.Errorf("%d rollbacks, hold %+v; want the hold to go on after an alert of level shed", c.rollbacks, r.Hold)
		}
		again := alert("rollback")
		again.Fingerprint = "another"
		deliver(t, e, again)
		wait(time.Minute)
		if r := c.shopRecord(2); c.rollbacks != 1 {
			t.Errorf("%d rollbacks, %s; want one", c.rollbacks, report.Summary(&r))
		}
	})
}

// A rollback was claimed, then backout was away. Before it goes on it decides again.
func TestAClaimedRollbackIsDecidedAgain(t *testing.T) {
	holdOf := func(content string, revision int) rollback.Record {
		return rollback.Record{
			Key: rollbacktest.Shop(), Revision: revision, UID: "uid-1", Content: content, Opened: time.Now().Add(-time.Hour),
			Hold: &rollback.Hold{Since: time.Now().Add(-time.Hour)}, Shed: doneStep(), Closed: time.Now(),
		}
	}
	for _, tt := range []struct {
		name   string
		change func(t *testing.T, c *cluster, p *rollback.Policy)
		why    string
	}{
		{"the target became known bad", func(t *testing.T, c *cluster, _ *rollback.Policy) {
			if _, err := c.Save(t.Context(), holdOf("c2", 1)); err != nil {
				t.Fatal(err)
			}
		}, "no-target"},
		{"the target is gone from the history", func(_ *testing.T, c *cluster, _ *rollback.Policy) {
			k := rollbacktest.Shop()
			c.history[k] = c.history[k][:1]
		}, "no-target"},
		{"the target is marked as failed", func(_ *testing.T, c *cluster, _ *rollback.Policy) {
			c.history[rollbacktest.Shop()][1].Status = rollback.StatusFailed
		}, "no-target"},
		{"the rollback would delete data", func(_ *testing.T, c *cluster, _ *rollback.Policy) {
			c.preflightResult.Dangers = []rollback.Danger{{Kind: rollback.DangerPVC, What: "it deletes PersistentVolumeClaim orders"}}
		}, "it deletes PersistentVolumeClaim orders"},
		{"another tool owns the release", func(_ *testing.T, c *cluster, _ *rollback.Policy) {
			c.preflightResult.Owner = rollback.Owner{Tool: "Flux", Object: "HelmRelease shop/web", Command: rollbacktest.Shop().HelmHistoryCommand()}
		}, "managed"},
		{"the suspect is older than the bake window", func(_ *testing.T, c *cluster, _ *rollback.Policy) {
			c.newest().Deployed = time.Now().Add(-48 * time.Hour)
		}, "baked"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, p := newCluster(), rollbacktest.Policy()
				c.weight = "0"
				storeRecord(t, c, rollbackToV2(), claimRollback, func(r *rollback.Record) {
					r.Shed, r.Weights = doneStep(), []rollback.Weight{{Kind: "Ingress", Name: "shop", From: "20", To: "0"}}
					r.Preflight, r.PreflightTarget = doneStep(), 1
				})
				tt.change(t, c, &p)
				run(t, newEngine(t, c, p))
				wait(time.Hour)
				r := c.shopRecord(2)
				if c.rollbacks != 0 || r.Rollback != nil || !r.Hold.Active() || c.weight != "0" {
					t.Errorf("%d rollbacks, weight %s, rollback %+v, hold %+v; want none, and the zero held", c.rollbacks, c.weight, r.Rollback, r.Hold)
				}
				if d := r.Decision(); !report.NeedsHelp(&r) || !strings.Contains(string(d.Verdict)+": "+d.Reason, tt.why) || d.Command.String() == "" {
					t.Errorf("decision %+v; want help asked for, with the reason %q and a command", d, tt.why)
				}
			})
		})
	}
}

// Changes since the claim that do not make the rollback wrong.
func TestAClaimedRollbackGoesOn(t *testing.T) {
	for name, change := range map[string]func(c *cluster, r *rollback.Record){
		"its alert was resolved meanwhile, which was older than the content": func(c *cluster, r *rollback.Record) {
			c.newest().Deployed = time.Now().Add(-8 * time.Minute)
			r.Signals[0].Version, r.Signals[0].StartsAt = "", time.Now().Add(-20*time.Minute)
			r.Rollback.Started = time.Now().Add(-10 * time.Second)
			r.Signals[0].Resolved = time.Now().Add(-5 * time.Second)
		},
		"the bake window ended meanwhile": func(c *cluster, r *rollback.Record) {
			c.newest().Deployed = time.Now().Add(-24*time.Hour - time.Minute)
			r.Rollback.Started = time.Now().Add(-2 * time.Minute)
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				c.weight = "0"
				storeRecord(t, c, rollbackToV2(), claimRollback, func(r *rollback.Record) {
					r.Shed, r.Weights = doneStep(), []rollback.Weight{{Kind: "Ingress", Name: "shop", From: "20", To: "0"}}
					r.Preflight, r.PreflightTarget = doneStep(), 1
					change(c, r)
				})
				run(t, newEngine(t, c, rollbacktest.Policy()))
				wait(time.Minute)
				if r := c.shopRecord(2); c.rollbacks != 1 || !r.Rollback.Succeeded() {
					t.Errorf("%d rollbacks, %s; want the claimed one", c.rollbacks, report.Summary(&r))
				}
			})
		})
	}
}

// Another client removes a step from the record while it is being taken.
func TestAStepThatIsGoneFromItsRecordEndsNothing(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(time.Hour)
		if r := c.shopRecord(2); c.newest().Number != 3 || c.newest().Status != rollback.StatusDeployed || c.weight != "20" {
			t.Errorf("revision %d %s, weight %s, %s; want the rollback done, and its weight restored", c.newest().Number, c.newest().Status, c.weight, report.Summary(&r))
		}
	}, func(c *cluster) {
		c.duringRollback = func() {
			c.change(func() {
				r := &c.records[rollbacktest.Shop()][0]
				r.Rollback, r.Target, r.Version = nil, 0, r.Version+"x"
			})
		}
	})
}

// A record of another revision with the UID of the newest one, which another client has written.
func TestARecordOfAnotherRevisionWithTheSameUIDGetsNoAlert(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		forged := rollback.Record{Key: rollbacktest.Shop(), Revision: 1, UID: "uid-2", Content: "x", Opened: time.Now(), Closed: time.Now()}
		if _, err := c.Save(t.Context(), forged); err != nil {
			t.Fatal(err)
		}
		e := newEngine(t, c, rollbacktest.Policy())
		run(t, e)
		deliver(t, e, alert("rollback"))
		wait(time.Minute)
		if r := c.shopRecord(2); c.rollbacks != 1 || !r.Rollback.Succeeded() {
			t.Errorf("%d rollbacks, %s; want the alert in the record of revision 2, and one rollback", c.rollbacks, report.Summary(&r))
		}
	})
}

// A hold that only the record claims: no route carries the mark of a shed.
func TestAHoldWithoutAMarkOnARouteWritesNoRoute(t *testing.T) {
	for name, change := range map[string]func(c *cluster){
		"a revision with other content": func(c *cluster) { c.upgrade("v4", "Upgrade complete") },
		"a revision with the same content": func(c *cluster) {
			c.upgrade("v3", "Upgrade complete")
			c.newest().Content = "c3"
		},
		"a revision that does not exist": func(c *cluster) {
			r := &c.records[rollbacktest.Shop()][0]
			r.UID = "uid-none"
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				c.unmarked, c.weight = true, "5"
				storeRecord(t, c, ordered(), func(r *rollback.Record) { r.Signals, r.Hold = nil, &rollback.Hold{Since: time.Now()} })
				change(c)
				run(t, newEngine(t, c, rollbacktest.Policy()))
				wait(time.Hour)
				if len(c.weightsWritten) != 0 {
					t.Errorf("weights written %v, want none", c.weightsWritten)
				}
			})
		})
	}
}

// The record lost its claim, which was not signed, while the rollback was in progress.
func TestARevisionThatBackoutLeftPendingIsNotTheNewest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		storeRecord(t, c, rollbackToV2())
		c.addRevision("v2", "Rollback to 1", "uid-2")
		c.newest().Status = rollback.StatusPendingRollback
		c.history[rollbacktest.Shop()][1].Status = rollback.StatusDeployed
		run(t, newEngine(t, c, rollbacktest.Policy()))
		wait(time.Hour)
		r := c.shopRecord(2)
		if c.rollbacks != 1 || r.Made != 4 || !r.Rollback.Succeeded() {
			t.Errorf("%d rollbacks, %s; want the pending revision recovered, and one rollback", c.rollbacks, report.Summary(&r))
		}
	})
}

func TestARecordThatIsSetAsideIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		storeRecord(t, c, rollbackToV2(), claimRollback, func(r *rollback.Record) { r.Panics = 2 })
		e := newEngine(t, c, rollbacktest.Policy())
		run(t, e)
		deliver(t, e, alert("rollback"))
		wait(time.Hour)
		if r := c.shopRecord(2); c.rollbacks != 0 || len(c.weightsWritten) != 0 || len(r.Signals) != 2 {
			t.Errorf("%d rollbacks, weights written %v, %d signals; want the alert stored and nothing done", c.rollbacks, c.weightsWritten, len(r.Signals))
		}
	})
}

// An operator's hold counts as that of an alert, once a route shows that a client with rights on the route has set it.
func TestAnOperatorsHoldIsSignedOnceARouteProvesIt(t *testing.T) {
	for name, proven := range map[string]bool{"with the mark on the route": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				c.weight, c.unmarked = "0", !proven
				storeRecord(t, c, ordered(), announced, func(r *rollback.Record) { r.Unsigned, r.Hold = true, &rollback.Hold{Since: time.Now()} })
				run(t, newEngine(t, c, rollbacktest.Policy()))
				wait(time.Minute)
				if r := c.shopRecord(2); r.Unsigned == proven || !r.Hold.Active() || (r.Decision().Operator == "") != proven {
					t.Errorf("unsigned %t, hold %+v, decision %+v; want it signed: %t", r.Unsigned, r.Hold, r.Decision(), proven)
				}
			})
		})
	}
}

// An alert about a revision that a failed attempt left behind does not end the rollback.
func TestAHoldOfWhatBackoutLeftBehindDoesNotEndTheRollback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.weight = "0"
		storeRecord(t, c, rollbackToV2(), claimRollback, func(r *rollback.Record) {
			r.Shed, r.Weights = doneStep(), []rollback.Weight{{Kind: "Ingress", Name: "shop", From: "20", To: "0"}}
			r.Preflight, r.PreflightTarget = doneStep(), 1
		})
		c.addRevision("v2", "Rollback to 1", "uid-2")
		c.newest().Status, c.newest().Content = rollback.StatusFailed, "c2"
		c.history[rollbacktest.Shop()][1].Status = rollback.StatusDeployed
		left := rollback.Record{
			Key: rollbacktest.Shop(), Revision: 3, UID: "uid-3", Content: "c2", Opened: time.Now(), Closed: time.Now(),
			Decisions: []rollback.Decision{{Verdict: rollback.Own, Shed: true, Hold: true}}, Hold: &rollback.Hold{Since: time.Now()},
		}
		if _, err := c.Save(t.Context(), left); err != nil {
			t.Fatal(err)
		}
		run(t, newEngine(t, c, rollbacktest.Policy()))
		wait(time.Minute)
		if r := c.shopRecord(2); c.rollbacks != 1 || !r.Rollback.Succeeded() {
			t.Errorf("%d rollbacks, %s; want the claimed one", c.rollbacks, report.Summary(&r))
		}
	})
}
