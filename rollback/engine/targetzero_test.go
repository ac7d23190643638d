package engine_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

// promotedCanary makes revision 2 the promotion of revision 1's canary: it has none, and its
// stable track runs those pods. No route leads to a canary now.
func promotedCanary(c *cluster) {
	h := c.history[rollbacktest.Shop()]
	h[0].Pods, h[1].Pods = []string{"v3", "redis"}, []string{"v3"}
	h[1].Canary = "Deployment shop-canary: its pods have the label track=canary"
	c.promoted, c.weight, c.unmarked = true, "", true
}

// withRoute keeps a live route to the canary that was promoted, with that weight.
func withRoute(weight string) func(*cluster) { return func(c *cluster) { c.weight = weight } }

func TestAPromotedCanaryIsRolledBackWithTheTargetsCanaryAtZero(t *testing.T) {
	for name, live := range map[string]func(*cluster){"Helm makes the route": func(*cluster) {}, "a route is live": withRoute("50")} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
				deliver(t, e, alert("rollback"))
				wait(time.Hour)
				if c.rollbacks != 1 || c.weight != "0" || slices.Contains(c.weightsWritten, "20") {
					t.Fatalf("%d rollbacks, weights written %v; want one, with the canary of the target at zero throughout", c.rollbacks, c.weightsWritten)
				}
				made := c.shopRecord(3)
				if c.unmarked || !made.Hold.Active() || !made.OwnShed() || !made.AccountsForZero() || made.Decision().NeedsHelp {
					t.Errorf("marked: %v, %s; want an open hold of revision 3 with its mark: no zero without a hold", !c.unmarked, report.Summary(&made))
				}
				r := c.shopRecord(2)
				told := report.Of(r, report.Settings{})
				for _, text := range []string{report.Summary(&r), report.Explain(r).String(), told.Timeline[len(told.Timeline)-1].Text + strings.Join(told.Done, "; ")} {
					if !strings.Contains(text, "canary") || !strings.Contains(text, "zero") || strings.Contains(text, "weight back") && !strings.Contains(text, "does not get its weight back") {
						t.Errorf("the team learns that the canary of the target stays at zero: got\n%s", text)
					}
				}
				if !strings.Contains(report.Explain(r).String(), "yes: no other one qualifies; its canary, which runs the pods of revision 2, stays at zero") {
					t.Errorf("explain says why revision 1 is the target: got\n%s", report.Explain(r))
				}
				c.upgrade("v4", "Upgrade complete")
				c.newest().Canary = "Deployment shop-canary: its pods have the label track=canary"
				wait(time.Minute)
				if made := c.shopRecord(3); made.Hold.Active() || c.weight != "20" {
					t.Errorf("weight %s, %s; want the weight of the next revision, which has different content", c.weight, report.Summary(&made))
				}
			}, promotedCanary, live)
		})
	}
}

func TestAnAlertAboutAHeldTargetAsksForHelp(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(30 * time.Minute)
		deliver(t, e, alertAbout("v2"))
		wait(time.Minute)
		if made := c.shopRecord(3); made.Decision().Verdict != rollback.Own || !report.NeedsHelp(&made) || !made.Hold.Active() || c.weight != "0" {
			t.Errorf("weight %s, %s; want the hold to go on, and a request for help", c.weight, report.Summary(&made))
		}
	}, promotedCanary)
}

// The pods of that canary may never get ready: they are why the release was rolled back.
func TestTheHeldCanaryOfTheTargetNeedNotBeReady(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(time.Minute)
		if r := c.shopRecord(2); !r.Restore.Succeeded() || c.weight != "0" {
			t.Errorf("weight %s, %s; want the stable pods to be enough", c.weight, report.Summary(&r))
		}
	}, promotedCanary, func(c *cluster) { c.ready, c.stableReady = false, true })
}

func TestTheStablePodsOfAHeldTargetHaveToBeReady(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(time.Hour)
		r := c.shopRecord(2)
		if made := c.shopRecord(3); r.Restore.Finished() || r.Outcome != rollback.OutcomeNotRecovered || !made.Hold.Active() {
			t.Errorf("%s; %s; want the team informed of pods that are not ready, and the hold", report.Summary(&r), report.Summary(&made))
		}
	}, promotedCanary, func(c *cluster) { c.ready = false })
}

// The verification goes by the alert alone: the canary gets no traffic.
func TestARollbackWithAHeldCanaryIsVerified(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(time.Minute)
		c.change(func() { c.answers = answers(rollback.AnswerQuiet) })
		wait(time.Hour)
		if r := c.shopRecord(2); r.Outcome != rollback.OutcomeRestored || !strings.Contains(r.Verify.Note, "the canary stays at zero") || r.Closed.IsZero() {
			t.Errorf("%s; want restored, unproven, and closed", report.Summary(&r))
		}
		if made := c.shopRecord(3); !made.Hold.Active() {
			t.Errorf("%s; want the hold to go on", report.Summary(&made))
		}
	}, promotedCanary, func(c *cluster) { c.answers = answers(rollback.AnswerFiring) })
}

// Another client upgrades the release before backout could begin the hold.
func TestAHeldTargetThatIsOvertakenLeavesNoZero(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(5 * time.Second)
		if c.history[rollbacktest.Shop()].Newest().Number != 3 || c.weight != "0" {
			t.Fatalf("want Helm at work, after it has written revision 3: got %+v, weight %s", c.history[rollbacktest.Shop()].Newest(), c.weight)
		}
		c.upgrade("v4", "Upgrade complete")
		c.newest().Canary = "Deployment shop-canary: its pods have the label track=canary"
		wait(time.Hour)
		made := c.shopRecord(3)
		if c.weight != "20" || made.Hold == nil || made.Hold.Active() || made.Closed.IsZero() {
			t.Errorf("weight %s, %s; want revision 4 to get its weight, and the hold ended", c.weight, report.Summary(&made))
		}
	}, promotedCanary, func(c *cluster) { c.rollbackTime = 8 * time.Second })
}

// A process dies between Helm's write and the hold; the next leader goes on.
func TestANewLeaderHoldsTheTargetsCanary(t *testing.T) {
	synctestRun(t, func(t *testing.T, c *cluster) {
		promotedCanary(c)
		c.rollbackTime = 8 * time.Second
		e := newEngine(t, c, rollbacktest.Policy(), func(o *engine.Options) {
			o.Leads = func() error {
				if c.weight == "0" {
					return errAPIServer // it has lost the lease
				}
				return nil
			}
		})
		stop := run(t, e)
		deliver(t, e, alert("rollback"))
		wait(time.Minute)
		stop()
		if r := c.shopRecord(2); r.Rollback.Finished() || !r.AccountsForZero() || len(c.records[rollbacktest.Shop()]) != 1 {
			t.Fatalf("%s; want the old leader to have stored nothing after Helm's write, and the record to account for the zero", report.Summary(&r))
		}
		run(t, newEngine(t, c, rollbacktest.Policy()))
		wait(time.Minute)
		if made := c.shopRecord(3); !made.Hold.Active() || c.unmarked || c.rollbacks != 1 || c.weight != "0" {
			t.Errorf("%d rollbacks, weight %s, %s; want the hold of the new leader", c.rollbacks, c.weight, report.Summary(&made))
		}
	})
}

func TestATargetWhoseCanaryCannotBeHeldIsUnsafe(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(time.Hour)
		r := c.shopRecord(2)
		if d := r.Decision(); c.rollbacks != 0 || d.Verdict != rollback.Unsafe || !d.NeedsHelp || !strings.Contains(d.Reason, "its weight would not stay zero") {
			t.Errorf("%d rollbacks, %s; want none: the suspect's pods would get traffic as the canary", c.rollbacks, report.Summary(&r))
		}
	}, promotedCanary, func(c *cluster) {
		for range 5000 {
			c.holdTargetErrors = append(c.holdTargetErrors, rollback.ErrNoRoute)
		}
	})
}

func TestTheTargetsCanaryIsAtZeroBeforeHelmWrites(t *testing.T) {
	for name, failures := range map[string]int{"once": 1, "for good": 100} {
		t.Run(name, func(t *testing.T) {
			simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
				deliver(t, e, alert("rollback"))
				wait(time.Hour)
				r := c.shopRecord(2)
				switch {
				case failures == 1 && (c.rollbacks != 1 || c.weight != "0"):
					t.Errorf("%d rollbacks, weight %s; want another attempt", c.rollbacks, c.weight)
				case failures > 1 && (c.rollbacks != 0 || !r.Rollback.Failed || !report.NeedsHelp(&r)):
					t.Errorf("%d rollbacks, %s; want none while the live weight is not zero, and the team informed", c.rollbacks, report.Summary(&r))
				}
			}, promotedCanary, withRoute("50"), func(c *cluster) {
				for range failures {
					c.shedErrors = append(c.shedErrors, errAPIServer)
				}
			})
		})
	}
}

func TestAFailedRollbackToAHeldTargetLeavesAHold(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(time.Hour)
		if r := c.shopRecord(2); !r.Rollback.Failed || !r.Hold.Active() || c.weight != "0" {
			t.Errorf("weight %s, %s; want the zero of the live route to have a hold", c.weight, report.Summary(&r))
		}
	}, promotedCanary, withRoute("50"), func(c *cluster) {
		for range 100 {
			c.rollbackErrors = append(c.rollbackErrors, errAPIServer)
		}
	})
}

func TestAnOperatorEndsTheHoldOfTheTargetsCanary(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(time.Minute)
		if _, err := manual(c).Unhold(t.Context(), rollbacktest.Shop()); err != nil {
			t.Fatal(err)
		}
		wait(time.Hour)
		if made := c.shopRecord(3); c.weight != "20" || !made.Hold.Lifted {
			t.Errorf("weight %s, %s; want the operator's order to win", c.weight, report.Summary(&made))
		}
	}, promotedCanary)
}

func TestAManualRollbackHoldsTheCanaryThatWasPromoted(t *testing.T) {
	for _, to := range []int{0, 1} {
		simulate(t, func(t *testing.T, c *cluster, _ *engine.Engine) {
			printed, err := rollBack(t.Context(), c, func(o *engine.RollbackOrder) { o.To = to })
			if err != nil {
				t.Fatal(err)
			}
			wait(time.Hour)
			made := c.shopRecord(3)
			if c.rollbacks != 1 || c.weight != "0" || slices.Contains(c.weightsWritten, "20") || c.unmarked || !made.Hold.Active() {
				t.Errorf("%d rollbacks, weights written %v, %s; want the canary at zero, with a hold", c.rollbacks, c.weightsWritten, report.Summary(&made))
			}
			for _, line := range []string{"the canary of revision 1 runs the pods of revision 2: its weight stays zero", "to end the hold: backout unhold canary-demo/canary-demo"} {
				if !strings.Contains(printed, line) {
					t.Errorf("the command prints %q: got\n%s", line, printed)
				}
			}
			if r := c.shopRecord(2); r.Closed.IsZero() || r.Hold.Active() {
				t.Errorf("%s; want the record of the suspect closed", report.Summary(&r))
			}
		}, promotedCanary)
	}
}

// The command looks for the default label, and the running backout for another one.
func TestACommandThatFindsNoCanaryChangesNothing(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, _ *engine.Engine) {
		storeRecord(t, c, rollback.Decision{Verdict: rollback.Handled}, func(r *rollback.Record) {
			r.Canary, r.Closed = "Deployment shop-next: its pods have the label role=next", time.Now()
		})
		_, rollbackErr := rollBack(t.Context(), c)
		_, holdErr := manual(c).Hold(t.Context(), rollbacktest.Shop(), "")
		_, unholdErr := manual(c).Unhold(t.Context(), rollbacktest.Shop())
		for order, err := range map[string]error{"rollback": rollbackErr, "hold": holdErr, "unhold": unholdErr} {
			if err == nil || !strings.Contains(err.Error(), "role=next") || !strings.Contains(err.Error(), "--track-label") {
				t.Errorf("%s: the error names the canary and the flag: got %v", order, err)
			}
		}
		if c.rollbacks != 0 || len(c.weightsWritten) != 0 {
			t.Errorf("%d rollbacks, weights written %v; want none", c.rollbacks, c.weightsWritten)
		}
	})
}

// The Deployment of the promoted canary is all that serves now.
func TestACanaryThatIsAllThatServesIsNotHeld(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(time.Hour)
		if r := c.shopRecord(2); c.rollbacks != 0 || slices.Contains(c.weightsWritten, "0") || !report.NeedsHelp(&r) {
			t.Errorf("%d rollbacks, weights written %v, %s; want no zero, and the team informed", c.rollbacks, c.weightsWritten, report.Summary(&r))
		}
	}, promotedCanary, withRoute("100"), func(c *cluster) { c.routing.NoStable = "Service shop has no ready endpoint" })
}
