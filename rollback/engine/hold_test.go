package engine_test

import (
	"strings"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/report"
)

// startHold has the engine hold v3's canary at zero, by an alert at the level shed.
func startHold(t *testing.T, c *cluster, e *engine.Engine) {
	t.Helper()
	deliver(t, e, alert("shed"))
	wait(time.Minute)
	if r := c.shopRecord(2); c.weight != "0" || !r.Hold.Active() || !r.Closed.IsZero() {
		t.Fatalf("weight %s, %s; want the canary held at zero", c.weight, report.Summary(&r))
	}
}

func TestAnOperatorWhoRestoresAHeldWeightEndsTheHold(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		startHold(t, c, e)
		c.change(func() { c.setWeight("5") })
		wait(time.Minute)
		deliver(t, e, alert("shed"))
		wait(time.Hour)
		r := c.shopRecord(2)
		if c.weight != "5" || r.Hold.Active() || !r.Hold.Lifted || r.Closed.IsZero() {
			t.Errorf("weight %s, %s, %+v; want the operator's 5 and the hold lifted", c.weight, report.Summary(&r), r.Hold)
		}
		if want := "another client gave the canary a weight of 5 on Ingress/shop-canary"; r.Hold.Reason != want {
			t.Errorf("the record says %q, want %q", r.Hold.Reason, want)
		}
	})
}

func TestAWeightThatHelmWritesDoesNotEndAHold(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("shed"))
		wait(10 * time.Second)
		c.change(func() { c.setWeight("20") }) // Helm writes the Ingress
		wait(10 * time.Second)
		c.change(func() { c.newest().Status = rollback.StatusDeployed })
		wait(time.Minute)
		if r := c.shopRecord(2); c.weight != "0" || !r.Hold.Active() {
			t.Errorf("weight %s, %s; want the hold to outlast the upgrade", c.weight, report.Summary(&r))
		}
	}, upgradeInFlight)
}

// A revision that cannot be read may have the suspect's content.
func TestARevisionThatCannotBeReadDoesNotEndAHold(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		startHold(t, c, e)
		c.upgrade("v4", "Upgrade complete")
		c.change(func() { c.newest().Unreadable, c.newest().Content = "too large", "" })
		wait(time.Hour)
		if r := c.shopRecord(2); c.weight != "0" || !r.Hold.Active() {
			t.Errorf("weight %s, %s; want the hold to go on", c.weight, report.Summary(&r))
		}
	})
}

func TestDifferentContentEndsAHold(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		startHold(t, c, e)
		c.change(func() { c.ready = false })
		c.upgrade("v4", "Upgrade complete")
		wait(time.Minute)
		if c.weight != "0" {
			t.Fatalf("weight %s before v4's pods are ready", c.weight)
		}
		c.change(func() { c.ready = true })
		wait(time.Minute)
		r := c.shopRecord(2)
		if c.weight != "20" || r.Hold.Active() || !strings.Contains(r.Hold.Reason, "revision 3 has different content") {
			t.Errorf("weight %s, %+v; want v4's own weight and the hold ended", c.weight, r.Hold)
		}
	})
}

func TestAHoldContinuesAtTheNextStepOfARamp(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		startHold(t, c, e)
		c.upgrade("v3", "Upgrade complete")
		c.change(func() {
			c.newest().Content = "c3"
			c.setWeight("50") // the ramp's next weight, as Helm writes it
		})
		wait(time.Minute)
		r := c.shopRecord(3)
		if c.weight != "0" || !r.Hold.Active() || c.rollbacks != 0 {
			t.Fatalf("weight %s, %s; want revision 3 held for the content of revision 2", c.weight, report.Summary(&r))
		}
		deliver(t, e, alert("rollback"))
		wait(time.Hour)
		if r := c.shopRecord(2); r.Hold.Active() || !strings.Contains(r.Hold.Reason, "it continues at revision 3") {
			t.Errorf("the hold of revision 2: %+v; want it to say where it continues", r.Hold)
		}
	})
}

func TestAHoldGivesWayToAStrongerAlert(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		startHold(t, c, e)
		deliver(t, e, alert("rollback"))
		wait(time.Hour)
		if r := c.shopRecord(2); c.rollbacks != 1 || r.Hold.Active() || r.Closed.IsZero() {
			t.Errorf("%d rollbacks, %s; want the strongest signal to win", c.rollbacks, report.Summary(&r))
		}
	})
}

// Another client deletes the route: the weight of one that it makes in its place is not held.
func TestARouteThatIsGoneDuringAHoldIsReported(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		startHold(t, c, e)
		c.change(func() { c.noRoute = true })
		wait(time.Minute)
		r := c.shopRecord(2)
		if !report.NeedsHelp(&r) || !strings.Contains(report.Explain(r).Headline, "Ingress/shop-canary") || len(report.Commands(&r)) == 0 || !r.Hold.Active() {
			t.Errorf("%q, hold %+v; want the team notified of the route, with a command, and the hold to go on", report.Explain(r).Headline, r.Hold)
		}
		c.change(func() { c.noRoute = false })
		wait(time.Minute)
		if r := c.shopRecord(2); r.Obstacle == nil || !r.Obstacle.Finished() {
			t.Errorf("obstacle %+v; want it to be over with the route", r.Obstacle)
		}
	})
}
