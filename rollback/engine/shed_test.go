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

func TestAFailedShedDoesNotPreventTheRollback(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(time.Minute)
		if r := c.shopRecord(2); !r.Shed.Failed || !r.Rollback.Succeeded() {
			t.Errorf("%s; want a failed shed and a rollback all the same", report.Summary(&r))
		}
	}, func(c *cluster) {
		c.shedErrors = slices.Repeat([]error{errors.New("ingresses is forbidden")}, 10)
	})
}

func TestAShedWithoutARollbackIsTriedUntilItSucceeds(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("shed"))
		wait(time.Hour)
		if r := c.shopRecord(2); c.weight != "0" || !r.Hold.Active() {
			t.Errorf("weight %s, %s; want the shed done once the router can be written again", c.weight, report.Summary(&r))
		}
	}, func(c *cluster) {
		c.shedErrors = slices.Repeat([]error{errors.New("failed calling webhook")}, 12)
	})
}

// A shed gives way to a rollback, and becomes due again if that has to wait: here for an upgrade that begins meanwhile.
func TestAShedThatWasGivenUpSucceedsLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.beforeShed = func() {
			c.beforeShed = nil
			time.Sleep(4 * time.Second)
			c.upgrade("v4", "Preparing upgrade")
			c.change(func() {
				h := c.history[rollbacktest.Shop()]
				h[0].Status, h[1].Status = rollback.StatusPendingUpgrade, rollback.StatusDeployed
			})
		}
		e := newEngine(t, c, rollbacktest.Policy())
		run(t, e)
		deliver(t, e, alert("rollback"))
		wait(time.Minute)
		if r := c.shopRecord(2); c.weight != "0" || !r.Shed.Succeeded() || r.Shed.Attempts != 2 {
			t.Errorf("weight %s, shed %+v, %s; want it to succeed at the second attempt", c.weight, r.Shed, report.Summary(&r))
		}
	})
}

// The record names the ways to the canary that a shed leaves open, and the rollback goes on.
func TestARecordNamesWhatAShedMisses(t *testing.T) {
	const missed = "no route of a known kind in namespace shop divides requests between cart-canary and another backend"
	for name, noRoute := range map[string]bool{"where a route is shed": false, "where none is": true} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
				deliver(t, e, alert("rollback"))
				wait(time.Minute)
				r := c.shopRecord(2)
				if r.Shed.Note != missed || !r.Rollback.Succeeded() {
					t.Errorf("note %q, %s; want the note and a rollback", r.Shed.Note, report.Summary(&r))
				}
			}, func(c *cluster) {
				c.routing.Missed = []string{missed}
				c.noRoute = noRoute
			})
		})
	}
}

// The order to hold a canary to which no known route leads says what backout has looked for.
func TestAHoldNamesWhatItMisses(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, _ *engine.Engine) {
		manual := engine.Manual{Releases: c, Traffic: c, Ledger: c, Operator: "ada"}
		_, err := manual.Hold(t.Context(), rollbacktest.Shop(), "")
		if err == nil || !strings.Contains(err.Error(), "its route is elsewhere") {
			t.Errorf("got %v, want an error that says where the route may be", err)
		}
	}, func(c *cluster) {
		c.routing.Missed = []string{"its route is elsewhere"}
		c.noRoute = true
	})
}

// The record of a hold that an operator orders names the clients that it leaves on the canary.
func TestAHoldThatLeavesClientsNamesThem(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, _ *engine.Engine) {
		r, err := manual(c).Hold(t.Context(), rollbacktest.Shop(), "")
		if err != nil || r.Shed.Note != "clients with a session stay" {
			t.Errorf("got the note %q, %v; want what the shed misses", r.Shed.Note, err)
		}
	}, func(c *cluster) { c.routing.Missed = []string{"clients with a session stay"} })
}

func TestWithoutStablePodsTheWeightStaysAndTheReleaseIsRolledBack(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(time.Hour)
		if slices.Contains(c.weightsWritten, "0") {
			t.Errorf("weights written %v; at zero, no backend would have served requests", c.weightsWritten)
		}
		if r := c.shopRecord(2); c.rollbacks != 1 || r.Decision().Verdict != rollback.NoStable {
			t.Errorf("%d rollbacks, %s; want one, with the verdict no-stable", c.rollbacks, report.Summary(&r))
		}
	}, func(c *cluster) { c.routing.NoStable = "Service shop has no ready endpoint" })
}

func TestAShedFollowsWhenStablePodsAreBack(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("shed"))
		wait(5 * time.Second)
		c.change(func() { c.routing.NoStable = "" })
		wait(time.Minute)
		if c.weight != "0" {
			t.Errorf("weight %s after the stable pods are back, want 0", c.weight)
		}
	}, func(c *cluster) { c.routing.NoStable = "Service shop has no ready endpoint" })
}

func TestTheWeightIsKeptAtZeroWhileAnUpgradeIsInFlight(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(5 * time.Second)
		c.change(func() { c.setWeight("20") }) // Helm writes the Ingress
		wait(5 * time.Second)
		if c.weight != "0" {
			t.Errorf("weight %s during the upgrade, want 0", c.weight)
		}
	}, upgradeInFlight)
}

func TestAnOperatorsWeightWinsDuringAStuckUpgrade(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(10 * time.Second)
		c.change(func() { c.setWeight("5") })
		wait(time.Minute)
		if r := c.shopRecord(2); c.weight != "5" || !r.Decision().NeedsHelp {
			t.Errorf("weight %s, %s; want the operator's 5 on an upgrade that is pending for hours", c.weight, report.Summary(&r))
		}
	}, upgradeInFlight, func(c *cluster) { c.newest().Deployed = time.Now().Add(-3 * time.Hour) })
}

func TestAnUpgradeRightBeforeAZeroIsLeftAlone(t *testing.T) {
	for n, name := range []string{"the shed", "the zero that is kept before the rollback"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				calls := 0
				c.beforeShed = func() {
					if calls++; calls == n+1 {
						c.upgrade("v4", "Upgrade complete")
						c.change(func() { c.setWeight("30") })
					}
				}
				e := newEngine(t, c, rollbacktest.Policy())
				run(t, e)
				deliver(t, e, alert("rollback"))
				wait(time.Hour)
				if r := c.shopRecord(2); c.weight != "30" || c.rollbacks != 0 || r.Closed.IsZero() {
					t.Errorf("weight %s, %d rollbacks, %s; want v4 and its weight left alone", c.weight, c.rollbacks, report.Summary(&r))
				}
			})
		})
	}
}
