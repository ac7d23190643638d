package rollback_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// held has the engine hold v3's canary at zero, because an alert asked for that.
func held(t *testing.T, c *cluster) *rollback.Engine {
	t.Helper()
	e := newEngine(t, c, policy())
	run(t, e)
	accept(t, e, alert("shed"))
	pass(time.Minute)
	if r, _ := c.record(shop(), 2); c.weight != "0" || !r.Hold.Lasts() || !r.Closed.IsZero() {
		t.Fatalf("weight %s, %s; want the canary held at zero", c.weight, r.Summary())
	}
	return e
}

func TestAPersonWhoRaisesAHeldWeightWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		e := held(t, c)
		c.mu.Lock()
		c.set("5")
		c.mu.Unlock()
		pass(time.Minute)
		accept(t, e, alert("shed"))
		pass(time.Hour)
		r, _ := c.record(shop(), 2)
		if c.weight != "5" || r.Hold.Lasts() || r.Closed.IsZero() {
			t.Errorf("weight %s, %s; want the person's 5 and the hold ended", c.weight, r.Summary())
		}
		if want := "somebody gave the canary a weight of 5 on Ingress/shop-canary"; r.Hold.Why != want {
			t.Errorf("the record says %q, want %q", r.Hold.Why, want)
		}
	})
}

func TestOtherContentEndsAHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		held(t, c)
		c.mu.Lock()
		c.ready = false
		c.mu.Unlock()
		c.upgrade("v4", "Upgrade complete")
		pass(time.Minute)
		if c.weight != "0" {
			t.Fatalf("weight %s before v4's pods are ready", c.weight)
		}
		c.mu.Lock()
		c.ready = true
		c.mu.Unlock()
		pass(time.Minute)
		r, _ := c.record(shop(), 2)
		if c.weight != "20" || r.Hold.Lasts() || !strings.Contains(r.Hold.Why, "revision 3 has other content") {
			t.Errorf("weight %s, %+v; want v4's own weight and the hold ended", c.weight, r.Hold)
		}
	})
}

func TestAHoldGoesOnAtTheNextStepOfARamp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		e := held(t, c)
		c.upgrade("v3", "Upgrade complete")
		c.mu.Lock()
		c.history[shop()][0].Content = "c3"
		c.set("50") // the ramp's next weight, as Helm writes it
		c.mu.Unlock()
		pass(time.Minute)
		r, _ := c.record(shop(), 3)
		if c.weight != "0" || !r.Hold.Lasts() || c.rollbacks != 0 {
			t.Fatalf("weight %s, %s; want revision 3 held for the content of revision 2", c.weight, r.Summary())
		}
		accept(t, e, alert("rollback"))
		pass(time.Hour)
		if r, _ := c.record(shop(), 2); r.Hold.Lasts() || !strings.Contains(r.Hold.Why, "goes on at revision 3") {
			t.Errorf("the hold of revision 2: %+v; want it to name where it goes on", r.Hold)
		}
	})
}

func TestAHoldGivesWayToAnAlertThatAsksForMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		e := held(t, c)
		accept(t, e, alert("rollback"))
		pass(time.Hour)
		if r, _ := c.record(shop(), 2); c.rollbacks != 1 || r.Hold.Lasts() || r.Closed.IsZero() {
			t.Errorf("%d rollbacks, %s; want the strongest accusation to win", c.rollbacks, r.Summary())
		}
	})
}

func TestWhatIsUnsafeIsHeldAndTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.outlook.Dangers = []rollback.Danger{{Kind: rollback.DangerPVC, What: "it deletes PersistentVolumeClaim orders"}}
		e := newEngine(t, c, policy())
		run(t, e)
		accept(t, e, alert("rollback"))
		pass(time.Hour)
		r, _ := c.record(shop(), 2)
		if c.rollbacks != 0 || c.weight != "0" || r.Decision().Verdict != rollback.Unsafe || !r.Hold.Lasts() {
			t.Errorf("%d rollbacks, weight %s, %s; want the canary held and nothing rolled back", c.rollbacks, c.weight, r.Summary())
		}
		if !strings.Contains(r.Summary(), "PersistentVolumeClaim orders") || !strings.Contains(r.Summary(), "by hand: helm rollback canary-demo 1 -n canary-demo") {
			t.Errorf("the summary lacks the reason or the command: %s", r.Summary())
		}
		if c.checks > 2 {
			t.Errorf("looked ahead %d times for one decision", c.checks)
		}
	})
}

func TestWithoutStablePodsTheWeightStaysAndTheRollbackGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.routing.NoStable = "Service shop has no ready endpoint"
		e := newEngine(t, c, policy())
		run(t, e)
		accept(t, e, alert("rollback"))
		pass(time.Hour)
		r, _ := c.record(shop(), 2)
		for _, weight := range c.raised {
			if weight == "0" {
				t.Errorf("weights written: %v; zero would have left nobody to answer", c.raised)
			}
		}
		if c.rollbacks != 1 || r.Decision().Verdict != rollback.NoStable {
			t.Errorf("%d rollbacks, %s; want one, with the verdict no-stable", c.rollbacks, r.Summary())
		}
	})
}

func TestAPauseStopsWhatWasNotBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.paused = "everything is paused by ann"
		e := newEngine(t, c, policy())
		run(t, e)
		accept(t, e, alert("rollback"))
		pass(time.Hour)
		if r, ok := c.record(shop(), 2); !ok || r.Decision().Verdict != rollback.Paused || c.rollbacks != 0 || len(c.raised) != 0 {
			t.Fatalf("%d rollbacks, weights %v, %s; want a record and nothing else", c.rollbacks, c.raised, r.Summary())
		}
		c.mu.Lock()
		c.paused = ""
		c.mu.Unlock()
		accept(t, e, alert("rollback"))
		pass(time.Minute)
		if c.rollbacks != 1 {
			t.Errorf("%d rollbacks after backout was resumed and the alert repeated, want 1", c.rollbacks)
		}
	})
}
