package engine_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

func TestAHoldIsKeptWhileTheNextStepOfTheRampHangs(t *testing.T) {
	for name, next := range map[string]func(*rollback.Revision){
		"pending, the same content":  func(r *rollback.Revision) { r.Content, r.Status = "c3", rollback.StatusPendingUpgrade },
		"failed, the same content":   func(r *rollback.Revision) { r.Content, r.Status = "c3", rollback.StatusFailed },
		"pending, different content": func(r *rollback.Revision) { r.Status = rollback.StatusPendingUpgrade },
		"failed, different content":  func(r *rollback.Revision) { r.Status = rollback.StatusFailed },
		"one that cannot be read":    func(r *rollback.Revision) { r.Unreadable, r.Content = "too large", "" },
		"deployed, and never ready":  func(*rollback.Revision) {},
		"pending for longer than usual": func(r *rollback.Revision) {
			r.Status, r.Deployed = rollback.StatusPendingUpgrade, r.Deployed.Add(-3*time.Hour)
		},
	} {
		for _, writer := range []string{"", "helm"} {
			t.Run(name+", written by "+writer, func(t *testing.T) {
				simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
					startHold(t, c, e)
					c.upgrade("v4", "Upgrade complete")
					c.change(func() {
						next(c.newest())
						c.ready, c.writer = false, writer
						c.setWeight("50") // helm upgrade --wait has written the route, and waits for the pods
					})
					wait(10 * time.Second)
					r := c.shopRecord(2)
					if c.weight != "0" || !r.Hold.Active() {
						t.Errorf("weight %s, %s; want zero until a revision is ready", c.weight, report.Summary(&r))
					}
					wait(30 * time.Minute)
					if r := c.shopRecord(2); c.weight != "0" || r.Hold.Reopened != 0 {
						t.Errorf("weight %s, hold %+v; want zero, and nothing to notify the team of", c.weight, r.Hold)
					}
				})
			})
		}
	}
}

func TestAnOperatorEndsAHoldDuringAnUpgradeThatHangs(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		startHold(t, c, e)
		c.upgrade("v4", "Upgrade complete")
		c.change(func() {
			c.newest().Status, c.writer = rollback.StatusPendingUpgrade, "kubectl-edit"
			c.setWeight("5")
		})
		wait(time.Minute)
		if r := c.shopRecord(2); c.weight != "5" || !r.Hold.Lifted {
			t.Errorf("weight %s, hold %+v; want the operator's 5", c.weight, r.Hold)
		}
	})
}

func TestAControllerThatRestoresAHeldWeightIsNoOperator(t *testing.T) {
	argo := rollback.Owner{Tool: "Argo CD", Object: "Application shop"}
	for name, c := range map[string]struct {
		writer string
		owner  rollback.Owner
		lifts  bool
	}{
		"Argo CD, by its field manager":        {"argocd-controller", rollback.Owner{}, false},
		"KEDA":                                 {"keda-operator", rollback.Owner{}, false},
		"Helm, without a new revision":         {"helm", rollback.Owner{}, false},
		"an unknown client of a managed route": {"", argo, false},
		"an operator of a managed route":       {"kubectl-patch", argo, true},
		"an unknown client":                    {"deploy-script", rollback.Owner{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, k *cluster, e *engine.Engine) {
				startHold(t, k, e)
				k.change(func() { k.writer = c.writer; k.setWeight("20") })
				wait(10 * time.Second)
				r := k.shopRecord(2)
				if c.lifts != r.Hold.Lifted || c.lifts != (k.weight == "20") {
					t.Fatalf("weight %s, hold %+v; want it lifted: %t", k.weight, r.Hold, c.lifts)
				}
				if !c.lifts && (!report.NeedsHelp(&r) || r.Hold.Reopened != 1 || !strings.Contains(report.Explain(r).Headline, r.Hold.ReopenedBy)) {
					t.Errorf("%q, hold %+v; want the team notified of the client", report.Explain(r).Headline, r.Hold)
				}
			}, func(k *cluster) { k.routing.Owner = c.owner })
		})
	}
}

func TestAControllerThatKeepsRestoringAHeldWeight(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		startHold(t, c, e)
		c.change(func() { c.writer, c.weightsWritten = "argocd-controller", nil })
		for range 600 {
			c.change(func() {
				if c.weight == "0" {
					c.setWeight("20")
				}
			})
			wait(time.Second)
		}
		r, writes := c.shopRecord(2), len(c.weightsWritten)
		if !r.Hold.Active() || !strings.Contains(report.Explain(r).Headline, "again and again") || writes > 80 {
			t.Errorf("%d writes in ten minutes, %q; want the hold to go on, slowly, and the team notified", writes, report.Explain(r).Headline)
		}
	})
}

func TestAHeldWeightThatCannotBeSetToZeroAgainIsReported(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		startHold(t, c, e)
		c.change(func() { c.writer = "argocd-controller"; c.shedErrors = []error{errForbidden}; c.setWeight("20") })
		wait(5500 * time.Millisecond)
		if r := c.shopRecord(2); !strings.Contains(r.Hold.Problem, "forbidden") || !strings.Contains(report.Explain(r).Headline, "cannot set it to zero again") {
			t.Fatalf("%q, hold %+v; want the reason", report.Explain(r).Headline, r.Hold)
		}
		wait(time.Minute)
		if r := c.shopRecord(2); c.weight != "0" || r.Hold.Problem != "" {
			t.Errorf("weight %s, hold %+v; want zero again", c.weight, r.Hold)
		}
	})
}

func TestAWatchedRouteIsCheckedWhenItChanges(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		startHold(t, c, e)
		wait(time.Minute)
		before := c.observations
		wait(10 * time.Minute)
		if n := c.observations - before; n > 11 {
			t.Errorf("the routes were read %d times in ten minutes without a change; want once a minute at most", n)
		}
		c.change(func() { c.writer = "argocd-controller"; c.setWeight("20") })
		wait(time.Second)
		if c.weight != "0" {
			t.Errorf("weight %s a second after it was restored; want zero", c.weight)
		}
		if c.watchesBegun != 1 {
			t.Errorf("%d watches, want one for the kind and the namespace", c.watchesBegun)
		}
	}, func(c *cluster) { c.watchable = true })
}

func TestNothingIsWatchedWithoutAHold(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(time.Hour)
		if c.watchesBegun != 0 {
			t.Errorf("%d watches without a hold", c.watchesBegun)
		}
	}, func(c *cluster) { c.watchable = true })
}

// holdKinds stores a hold of routes of that many kinds for each of the releases.
func holdKinds(t *testing.T, c *cluster, e *engine.Engine, releases, kinds int) {
	t.Helper()
	addReleases(c, releases)
	for i := range releases {
		r := rollback.Record{
			Key: rollback.Key{Namespace: "canary-demo", Release: fmt.Sprintf("shop-%d", i)}, Revision: 2, UID: "uid-2", Content: "c3", Opened: time.Now(),
			Decisions: []rollback.Decision{{Verdict: rollback.Act, Hold: true}}, Shed: doneStep(), Hold: &rollback.Hold{Since: time.Now()},
		}
		for n := range kinds {
			r.Weights = append(r.Weights, rollback.Weight{Kind: fmt.Sprintf("Kind%d-%d", i, n), To: "0"})
		}
		if _, err := c.Save(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		e.Enqueue(r.Key)
	}
}

func TestWatchesAreBounded(t *testing.T) {
	for name, tc := range map[string]struct{ releases, kinds, most int }{
		"of one hold": {1, 100, 20},
		"of all":      {10, 8, 64},
	} {
		t.Run(name, func(t *testing.T) {
			synctestRun(t, func(t *testing.T, c *cluster) {
				p := rollbacktest.Policy()
				p.StormReleases = 1000
				e := newEngine(t, c, p)
				run(t, e)
				c.watchable = true
				c.setWeight("0")
				holdKinds(t, c, e, tc.releases, tc.kinds)
				wait(time.Minute)
				if c.watchesBegun != tc.most {
					t.Errorf("%d watches, want %d", c.watchesBegun, tc.most)
				}
			})
		})
	}
}

// TestKindsThatDoNotExistTakeNoWatch: weights in a record may be unsigned.
func TestKindsThatDoNotExistTakeNoWatch(t *testing.T) {
	synctestRun(t, func(t *testing.T, c *cluster) {
		e := newEngine(t, c, rollbacktest.Policy())
		run(t, e)
		c.watchable, c.oneKind = true, true
		c.setWeight("0")
		holdKinds(t, c, e, 10, 8)
		wait(time.Second)
		storeRecord(t, c, rollback.Decision{Verdict: rollback.Act, Hold: true}, func(r *rollback.Record) {
			r.Shed, r.Hold = doneStep(), &rollback.Hold{Since: time.Now()}
			r.Weights = []rollback.Weight{{Kind: "Ingress", Name: "shop-canary", To: "0"}}
		})
		e.Enqueue(rollbacktest.Shop())
		wait(time.Minute)
		if c.watchesBegun != 1 {
			t.Errorf("%d watches, want that of the Ingress", c.watchesBegun)
		}
	})
}
