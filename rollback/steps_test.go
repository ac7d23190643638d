package rollback_test

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
)

func TestARollbackOutlastsAnAPIServerThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		for range 10 {
			c.rollbackErrors = append(c.rollbackErrors, errors.New("API server away"))
		}
		e := newEngine(t, c, policy())
		run(t, e)
		accept(t, e, alert("rollback"))
		pass(5 * time.Minute)
		if r, _ := c.record(shop(), 2); c.rollbacks != 1 || !r.Rollback.Succeeded() {
			t.Errorf("%d rollbacks after attempts that changed nothing: %s; want 1", c.rollbacks, r.Summary())
		}
	})
}

func TestTheBackOffOfARollbackIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		for range 1000 {
			c.rollbackErrors = append(c.rollbackErrors, errors.New("API server away"))
		}
		e := newEngine(t, c, policy())
		run(t, e)
		accept(t, e, alert("rollback"))
		pass(2 * time.Minute)
		if r, _ := c.record(shop(), 2); r.Rollback.Attempts > 12 {
			t.Errorf("%d attempts in two minutes: looking for open records is no reason to try early", r.Rollback.Attempts)
		}
	})
}

func TestARollbackThatNeverWorksEndsWithTheCommandToRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		for range 1000 {
			c.rollbackErrors = append(c.rollbackErrors, errors.New("no matches for kind Rocket"))
		}
		e := newEngine(t, c, policy())
		run(t, e)
		accept(t, e, alert("rollback"))
		pass(time.Hour)
		r, _ := c.record(shop(), 2)
		if !r.Rollback.Failed || r.Closed.IsZero() || !strings.Contains(r.Rollback.Error, "helm rollback canary-demo 1 -n canary-demo") {
			t.Errorf("%s; want a failed step that tells what to run", r.Summary())
		}
	})
}

func TestARevisionThatSomebodyElseMadeIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.meanwhile = func() { c.upgrade("v4", "Upgrade complete") }
		e := newEngine(t, c, policy())
		run(t, e)
		accept(t, e, alert("rollback"))
		pass(time.Hour)
		r, _ := c.record(shop(), 2)
		if c.rollbacks != 0 || !r.Rollback.Failed || r.Closed.IsZero() || !strings.Contains(r.Rollback.Error, "somebody else made revision 3") {
			t.Errorf("%d rollbacks, %s; want none and the reason told", c.rollbacks, r.Summary())
		}
	})
}

func TestTheSameRollbackByAnotherReplicaIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.meanwhile = func() { c.revise("v2", "Rollback to 1", "uid-2") }
		e := newEngine(t, c, policy())
		run(t, e)
		accept(t, e, alert("rollback"))
		pass(time.Minute)
		if r, _ := c.record(shop(), 2); !r.Rollback.Succeeded() || r.Made != 3 {
			t.Errorf("%s; want revision 3 taken for the planned rollback", r.Summary())
		}
	})
}

// failing has every attempt of Helm's leave a failed revision behind.
func failing(c *cluster) {
	c.meanwhile = func() {
		c.revise("v2", `Rollback "canary-demo" failed: quota exceeded`, "uid-2")
		c.mu.Lock()
		c.history[shop()][0].Status = rollback.StatusFailed
		c.rollbackErrors = []error{errors.New("quota exceeded")}
		c.mu.Unlock()
	}
}

func TestARollbackThatFailsAgainAndAgainCallsForAPerson(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		failing(c)
		e := newEngine(t, c, policy())
		run(t, e)
		accept(t, e, alert("rollback"))
		pass(time.Hour)
		r, _ := c.record(shop(), 2)
		if !r.Rollback.Failed || len(c.history[shop()]) > 8 || !strings.Contains(r.Rollback.Error, "helm rollback canary-demo 1 -n canary-demo") {
			t.Errorf("%d revisions: %s; want a few attempts and the command to run", len(c.history[shop()]), r.Rollback.Error)
		}
		if c.weight != "0" {
			t.Errorf("weight %s after a failed rollback, want 0", c.weight)
		}
	})
}

func TestARollbackThatWasInterruptedIsRecoveredAndDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.interrupted = 2
		e := newEngine(t, c, policy())
		run(t, e)
		accept(t, e, alert("rollback"))
		pass(time.Minute)
		r, _ := c.record(shop(), 2)
		if c.rollbacks != 1 || r.Made != 5 || !r.Rollback.Succeeded() || !slices.Equal(c.recovered, []int{3, 4}) {
			t.Errorf("%d rollbacks, recovered %v, %s; want revisions 3 and 4 marked as failed, and 5 made", c.rollbacks, c.recovered, r.Summary())
		}
	})
}

func TestSomebodyElsesPendingRevisionIsNeverRecovered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.meanwhile = func() {
			c.upgrade("v2", "Rollback to 1")
			c.mu.Lock()
			c.history[shop()][0].Status = rollback.StatusPendingRollback
			c.mu.Unlock()
		}
		e := newEngine(t, c, policy())
		run(t, e)
		accept(t, e, alert("rollback"))
		pass(time.Hour)
		r, _ := c.record(shop(), 2)
		if len(c.recovered) != 0 || c.rollbacks != 0 || !strings.Contains(r.Rollback.Error, "somebody else made revision 3") {
			t.Errorf("recovered %v, %d rollbacks, %s; want somebody else's rollback left alone and reported", c.recovered, c.rollbacks, r.Summary())
		}
	})
}

// opened stores a record of v3's revision with that decision, as an earlier
// process left it.
func opened(t *testing.T, c *cluster, d rollback.Decision, change func(*rollback.Record)) {
	t.Helper()
	r := rollback.Record{
		Key: shop(), Revision: 2, UID: "uid-2", Content: "c3", Opened: time.Now(),
		Accusations: []rollback.Accusation{{Level: rollback.LevelRollback, Fingerprint: "e1", StartsAt: time.Now(), Received: time.Now(), Version: "v3"}},
		Decisions:   []rollback.Decision{d},
	}
	if change != nil {
		change(&r)
	}
	if _, err := c.Save(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

func acting() rollback.Decision {
	return rollback.Decision{Verdict: rollback.Act, Shed: true, Rollback: true, Target: 1}
}

func TestAWriteThatFailsAfterAShedIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		e := newEngine(t, c, policy())
		run(t, e)
		c.afterShed = func() { c.recordErrors = []error{errors.New("timeout"), errors.New("timeout")} }
		accept(t, e, alert("rollback"))
		pass(time.Minute)
		if r, _ := c.record(shop(), 2); !r.Rollback.Succeeded() || c.weight != "20" {
			t.Errorf("%s, weight %s; want the story to end as ever", r.Summary(), c.weight)
		}
	})
}

func TestNoWeightIsRaisedOnARevisionThatIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.ready = false
		e := newEngine(t, c, policy())
		run(t, e)
		accept(t, e, alert("rollback"))
		pass(10 * time.Minute)
		// v2, which backout went back to, is accused as well.
		second := alert("rollback")
		second.Labels["version"], second.Fingerprint = "v2", "e2"
		accept(t, e, second)
		pass(time.Minute)
		c.mu.Lock()
		c.ready = true
		c.mu.Unlock()
		pass(time.Hour)
		r, _ := c.record(shop(), 3)
		if r.Decision().Verdict != rollback.Own || c.weight != "0" {
			t.Errorf("%s, weight %s; want the hold to stand at 0", r.Summary(), c.weight)
		}
	})
}

func TestAFailedRollbacksRevisionIsBackoutsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		failing(c)
		e := newEngine(t, c, policy())
		run(t, e)
		accept(t, e, alert("rollback"))
		pass(time.Hour)
		again := alert("rollback")
		delete(again.Labels, "version")
		again.Fingerprint = "e2"
		c.meanwhile = nil
		accept(t, e, again)
		pass(time.Hour)
		newest := c.history[shop()][0].Number
		if r, _ := c.record(shop(), newest); r.Decision().Verdict != rollback.Own || c.rollbacks != 0 {
			t.Errorf("%s, %d rollbacks; want the half-done revision to be left to a person", r.Summary(), c.rollbacks)
		}
	})
}

func TestSomebodyElsesRevisionIsNotTakenForAFailedRollback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.meanwhile = func() {
			c.upgrade("v4", "Upgrade complete")
			c.rollbackErrors = []error{errors.New("read revision 2: timeout")}
		}
		e := newEngine(t, c, policy())
		run(t, e)
		accept(t, e, alert("rollback"))
		pass(time.Minute)
		if r, _ := c.record(shop(), 2); strings.Contains(r.Rollback.Error, "helm rollback") {
			t.Errorf("people are told to roll back somebody else's fix: %s", r.Rollback.Error)
		}
	})
}

func TestARecordOfAReleaseThatIsNoLongerOptedInIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := newCluster(), policy()
		opened(t, c, acting(), nil)
		p.Releases = []string{"canary-demo/shop"}
		run(t, newEngine(t, c, p))
		pass(time.Hour)
		r, _ := c.record(shop(), 2)
		if c.rollbacks != 0 || len(c.raised) != 0 || r.Closed.IsZero() || r.Decision().Verdict != rollback.NotAllowed {
			t.Errorf("%d rollbacks, weights %v, %s; want nothing touched", c.rollbacks, c.raised, r.Summary())
		}
	})
}

func TestObserveModeFinishesNothing(t *testing.T) {
	for name, change := range map[string]func(*rollback.Record){
		"decided":          nil,
		"held, not shed":   func(r *rollback.Record) { r.Decisions[0].Verdict, r.Decisions[0].Hold = rollback.Baked, true },
		"rollback claimed": func(r *rollback.Record) { r.Rollback, r.Target = &rollback.Step{Started: time.Now()}, 1 },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, p := newCluster(), policy()
				opened(t, c, acting(), change)
				p.Mode = rollback.ModeObserve
				run(t, newEngine(t, c, p))
				pass(time.Hour)
				if c.rollbacks != 0 || len(c.raised) != 0 {
					t.Errorf("%d rollbacks, weights %v in observe mode", c.rollbacks, c.raised)
				}
			})
		})
	}
}

func TestAWaitingReleaseIsLookedAtOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.ready = false
		e := newEngine(t, c, policy())
		run(t, e)
		accept(t, e, alert("rollback"))
		pass(30 * time.Minute)
		c.now(func(c *cluster) { c.looks = 0 })
		pass(time.Minute)
		if c.looks > 90 {
			t.Errorf("%d looks in a minute after half an hour of waiting", c.looks)
		}
	})
}

func TestAReleaseThatIsGoneClosesItsRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.ready = false
		e := newEngine(t, c, policy())
		run(t, e)
		accept(t, e, alert("rollback"))
		pass(time.Minute)
		c.mu.Lock()
		delete(c.history, shop())
		c.mu.Unlock()
		pass(time.Minute)
		if r, _ := c.record(shop(), 2); r.Closed.IsZero() {
			t.Errorf("%s; want the record closed after helm uninstall", r.Summary())
		}
	})
}

func TestASettlingAlertIsNotForgottenBesideAShed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		e := newEngine(t, c, policy())
		run(t, e)
		early := alert("rollback")
		delete(early.Labels, "version")
		early.StartsAt = time.Now().Add(-10 * time.Minute)
		accept(t, e, alert("shed"), early)
		pass(time.Minute)
		if rollbacks, weight := c.done(); rollbacks != 0 || weight != "0" {
			t.Fatalf("%d rollbacks, weight %s before the revision has settled; want a shed only", rollbacks, weight)
		}
		pass(10 * time.Minute)
		if c.rollbacks != 1 {
			t.Errorf("%d rollbacks after the revision has settled and the alert still fires, want 1", c.rollbacks)
		}
	})
}

func TestTheWeightIsKeptAtZeroWhileAnUpgradeIsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.history[shop()][0].Status = rollback.StatusPendingUpgrade
		e := newEngine(t, c, policy())
		run(t, e)
		accept(t, e, alert("rollback"))
		pass(5 * time.Second)
		c.mu.Lock()
		c.set("20") // Helm gets to the Ingress
		c.mu.Unlock()
		pass(5 * time.Second)
		if c.weight != "0" {
			t.Errorf("weight %s during the upgrade, want 0", c.weight)
		}
	})
}

func TestAShedThatWasDoneIsStoredWhenTheProcessIsToldToStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		e := newEngine(t, c, policy())
		ctx, stop := context.WithCancel(t.Context())
		c.afterShed = stop
		accept(t, e, alert("rollback"))
		if err := e.Run(ctx); err != nil {
			t.Fatal(err)
		}
		if r, _ := c.record(shop(), 2); !r.Shed.Succeeded() || len(r.Weights) != 1 {
			t.Errorf("the original weight is lost with the process: %+v, %v", r.Shed, r.Weights)
		}
	})
}

func TestNoWeightIsRaisedOnWhatSomebodyElseDeployed(t *testing.T) {
	for name, change := range map[string]func(c *cluster){
		"an upgrade": func(c *cluster) { c.upgrade("v4", "Upgrade complete") },
		"uninstalled, and installed again up to the same number": func(c *cluster) {
			c.mu.Lock()
			defer c.mu.Unlock()
			for i := range c.history[shop()] {
				c.history[shop()][i].UID += "-of-another-life"
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				c.ready = false
				e := newEngine(t, c, policy())
				run(t, e)
				accept(t, e, alert("rollback"))
				pass(time.Minute)
				change(c)
				c.mu.Lock()
				c.ready = true
				c.mu.Unlock()
				pass(time.Minute)
				r, _ := c.record(shop(), 2)
				if c.weight != "0" || !r.Raise.Failed || r.Closed.IsZero() {
					t.Errorf("weight %s, %s; want it left to whoever deployed, and the record closed", c.weight, r.Summary())
				}
			})
		})
	}
}

func TestGivingUpLeavesNothingPending(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.interrupted = 1000
		e := newEngine(t, c, policy())
		run(t, e)
		accept(t, e, alert("rollback"))
		pass(time.Hour)
		r, _ := c.record(shop(), 2)
		if newest := c.history[shop()][0]; newest.Status.Pending() || !r.Rollback.Failed || newest.Number > 8 {
			t.Errorf("revision %d is %s, %s; want it marked as failed and people called", newest.Number, newest.Status, r.Summary())
		}
	})
}

func TestWhatSomebodyElseMadeWhileNobodyLedIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		// The rollback was claimed; then backout died, and a person upgraded to v4.
		opened(t, c, acting(), func(r *rollback.Record) { r.Rollback, r.Target = &rollback.Step{Started: time.Now()}, 1 })
		c.upgrade("v4", "Upgrade complete")
		run(t, newEngine(t, c, policy()))
		pass(time.Hour)
		r, _ := c.record(shop(), 2)
		if c.rollbacks != 0 || r.Made != 0 || !r.Rollback.Failed || len(c.raised) != 0 {
			t.Errorf("%d rollbacks, weights %v, %s; want v4 left alone", c.rollbacks, c.raised, r.Summary())
		}
	})
}

func TestAnUpgradeInTheMomentBeforeAZeroIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for n, name := range []string{"the shed", "the zero that is kept before the rollback"} {
			c := newCluster()
			calls := 0
			c.beforeShed = func() {
				if calls++; calls == n+1 {
					c.upgrade("v4", "Upgrade complete")
					c.mu.Lock()
					c.set("30")
					c.mu.Unlock()
				}
			}
			e := newEngine(t, c, policy())
			run(t, e)
			accept(t, e, alert("rollback"))
			pass(time.Hour)
			if r, _ := c.record(shop(), 2); c.weight != "30" || c.rollbacks != 0 || r.Closed.IsZero() {
				t.Errorf("%s: weight %s, %d rollbacks, %s; want v4 and its weight left alone", name, c.weight, c.rollbacks, r.Summary())
			}
		}
	})
}

func TestAnUpgradeInTheMomentBeforeTheRaiseIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.beforeRaise = sync.OnceFunc(func() {
			c.upgrade("v4", "Upgrade complete")
			c.mu.Lock()
			c.set("5")
			c.mu.Unlock()
		})
		e := newEngine(t, c, policy())
		run(t, e)
		accept(t, e, alert("rollback"))
		pass(time.Hour)
		if r, _ := c.record(shop(), 2); c.weight != "5" || r.Closed.IsZero() {
			t.Errorf("weight %s, %s; want v4's own 5", c.weight, r.Summary())
		}
	})
}
