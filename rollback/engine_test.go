package rollback_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/upcommerce/backout/rollback"
)

func policy() rollback.Policy {
	return rollback.Policy{
		Releases: []string{"canary-demo/*"}, Mode: rollback.ModeAct, Settle: 7 * time.Minute,
		Cooldown: 10 * time.Minute, Bake: 24 * time.Hour, OperationLimit: time.Hour, RollbackTimeout: 5 * time.Minute,
		ConfirmLimit: 2 * time.Minute, StormReleases: 5, StormWindow: 10 * time.Minute, MaxLoad: 2,
		Verify: 2 * time.Minute, VerifyLimit: 10 * time.Minute, TrafficFloor: 0.1,
		KeepRecords: 10, KeepRecordsFor: 90 * 24 * time.Hour,
	}
}

func newEngine(t *testing.T, c *cluster, p rollback.Policy, change ...func(*rollback.Options)) *rollback.Engine {
	t.Helper()
	o := rollback.Options{
		Releases: c, Traffic: c, Ledger: c, Policy: p,
		Registerer: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler),
	}
	for _, c := range change {
		c(&o)
	}
	e, err := rollback.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// run has the engine work until the test ends.
func run(t *testing.T, e *rollback.Engine) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() {
		if err := e.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); done.Wait() })
	t.Cleanup(stop)
	return stop
}

// following makes an engine one of a replica that does not lead.
func following(o *rollback.Options) {
	o.Leads = func() error { return errors.New("another replica leads") }
}

// asking gives an engine a Prometheus.
func asking(c *cluster) func(*rollback.Options) {
	return func(o *rollback.Options) { o.Prometheus = c }
}

// alert is one about v3 of the shop's canary.
func alert(level string) rollback.Alert {
	return rollback.Alert{
		Labels: map[string]string{
			"alertname": "CanaryErrors", "backout": level, "namespace": "canary-demo",
			"release": "canary-demo", "version": "v3",
		},
		Annotations: map[string]string{"summary": "half the requests fail"},
		Fingerprint: "e1-" + level, StartsAt: time.Now().Add(-10 * time.Second),
	}
}

func accept(t *testing.T, e *rollback.Engine, alerts ...rollback.Alert) {
	t.Helper()
	if err := e.Accept(t.Context(), alerts); err != nil {
		t.Fatalf("Accept: %v", err)
	}
}

func TestAnAlertShedsRollsBackAndRaises(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		e := newEngine(t, c, policy())
		run(t, e)
		accept(t, e, alert("rollback"))
		if _, ok := c.record(shop(), 2); !ok {
			t.Error("Accept returned before the record was stored")
		}
		pass(15 * time.Minute)

		r, _ := c.record(shop(), 2)
		if !r.Shed.Succeeded() || !r.Rollback.Succeeded() || !r.Raise.Succeeded() || !r.Verify.Succeeded() || r.Closed.IsZero() {
			t.Errorf("not all steps are done: %s", r.Summary())
		}
		if r.Target != 1 || r.Made != 3 {
			t.Errorf("went back to revision %d as revision %d, want 1 as 3", r.Target, r.Made)
		}
		if want := []string{"0", "0", "20"}; !slices.Equal(c.raised, want) {
			t.Errorf("weights written: %v, want %v: zero by the shed, held at zero by the rollback, then what the target declares", c.raised, want)
		}
		if len(r.Weights) != 1 || r.Weights[0].From != "20" {
			t.Errorf("the record does not hold the original weight: %v", r.Weights)
		}
	})
}

func TestTheWeightStaysZeroUntilTheTargetIsReady(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.ready = false
		e := newEngine(t, c, policy())
		run(t, e)
		accept(t, e, alert("rollback"))
		pass(time.Hour)
		if c.weight != "0" {
			t.Fatalf("weight %s with pods that are not ready", c.weight)
		}
		if r, _ := c.record(shop(), 2); r.Raise == nil || r.Raise.Error != "waiting for the canary's pod" {
			t.Errorf("the record does not say what is waited for: %+v", r.Raise)
		}
		c.mu.Lock()
		c.ready = true
		c.mu.Unlock()
		if r, _ := c.record(shop(), 2); r.Outcome != rollback.NotRecovered || !strings.Contains(r.Summary(), "waiting for the canary's pod") {
			t.Errorf("%s; want people to be told after an hour without ready pods", r.Summary())
		}
		pass(time.Minute)
		if c.weight != "20" {
			t.Errorf("weight %s after the pods got ready, want 20", c.weight)
		}
	})
}

func TestTheSameAlertAnyNumberOfTimesGivesOneRollback(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.rollbackTime = 2 * time.Second
		// Two replicas: they share the cluster, nothing else.
		engines := []*rollback.Engine{newEngine(t, c, policy()), newEngine(t, c, policy(), following)}
		for _, e := range engines {
			run(t, e)
		}
		same := alert("rollback")
		var senders sync.WaitGroup
		for i := range 50 {
			senders.Go(func() {
				pass(time.Duration(i) * 100 * time.Millisecond)
				accept(t, engines[i%2], same)
			})
		}
		senders.Wait()
		pass(20 * time.Minute)
		accept(t, engines[0], same)
		pass(20 * time.Minute)
		if c.rollbacks != 1 {
			t.Errorf("%d rollbacks, want exactly 1", c.rollbacks)
		}
		if r, _ := c.record(shop(), 2); r.Rollback.Failed || !r.Rollback.Succeeded() || len(r.Accusations) != 1 {
			t.Errorf("the record does not tell of one accusation and one rollback: %s, %d accusations", r.Summary(), len(r.Accusations))
		}
	})
}

func TestWhatIsNotAllowedTouchesNothing(t *testing.T) {
	for name, change := range map[string]func(*rollback.Alert, *rollback.Policy){
		"no release is opted in":        func(_ *rollback.Alert, p *rollback.Policy) { p.Releases = nil },
		"another release is opted in":   func(_ *rollback.Alert, p *rollback.Policy) { p.Releases = []string{"canary-demo/shop"} },
		"another namespace is opted in": func(_ *rollback.Alert, p *rollback.Policy) { p.Releases = []string{"shop/*"} },
		"the alert is another cluster's": func(a *rollback.Alert, p *rollback.Policy) {
			a.Labels["cluster"], p.Cluster = "staging", "production"
		},
		"the alert has no cluster":     func(_ *rollback.Alert, p *rollback.Policy) { p.Cluster = "production" },
		"no cluster is configured":     func(a *rollback.Alert, _ *rollback.Policy) { a.Labels["cluster"] = "staging" },
		"there is no such release":     func(a *rollback.Alert, _ *rollback.Policy) { a.Labels["release"] = "shop" },
		"there is no backout label":    func(a *rollback.Alert, _ *rollback.Policy) { delete(a.Labels, "backout") },
		"the level is not one":         func(a *rollback.Alert, _ *rollback.Policy) { a.Labels["backout"] = "delete" },
		"the namespace is a path":      func(a *rollback.Alert, _ *rollback.Policy) { a.Labels["namespace"] = "../kube-system" },
		"the release is a glob":        func(a *rollback.Alert, _ *rollback.Policy) { a.Labels["release"] = "*" },
		"it is resolved when it comes": func(a *rollback.Alert, _ *rollback.Policy) { a.Resolved = true },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, p, a := newCluster(), policy(), alert("rollback")
				change(&a, &p)
				e := newEngine(t, c, p)
				run(t, e)
				accept(t, e, a)
				pass(time.Hour)
				if c.rollbacks != 0 || len(c.raised) != 0 || len(c.records) != 0 {
					t.Errorf("%d rollbacks, weights %v, %d records: want none", c.rollbacks, c.raised, len(c.records))
				}
			})
		})
	}
}

func TestObserveModeRecordsAndTouchesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, p := newCluster(), policy()
		p.Mode = rollback.ModeObserve
		e := newEngine(t, c, p)
		run(t, e)
		accept(t, e, alert("rollback"))
		pass(time.Hour)
		if c.rollbacks != 0 || len(c.raised) != 0 {
			t.Errorf("%d rollbacks, weights %v in observe mode", c.rollbacks, c.raised)
		}
		if r, ok := c.record(shop(), 2); !ok || r.Decision().Verdict != rollback.Observe || r.Closed.IsZero() {
			t.Errorf("the record does not tell what was observed: %s", r.Summary())
		}
	})
}

func TestAcceptFailsWhenTheRecordCannotBeStored(t *testing.T) {
	c := newCluster()
	c.saveErrors = []error{errors.New("etcd is down")}
	e := newEngine(t, c, policy())
	if err := e.Accept(t.Context(), []rollback.Alert{alert("rollback")}); err == nil {
		t.Error("Accept returned nil though nothing was stored: Alertmanager would not repeat the alert")
	}
	if len(c.raised) != 0 {
		t.Error("the canary was shed without a record")
	}
}

func TestAFailingShedDoesNotKeepTheRollbackBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		for range 10 {
			c.shedErrors = append(c.shedErrors, errors.New("ingresses is forbidden"))
		}
		e := newEngine(t, c, policy())
		run(t, e)
		accept(t, e, alert("rollback"))
		pass(time.Minute)
		if r, _ := c.record(shop(), 2); !r.Shed.Failed || !r.Rollback.Succeeded() {
			t.Errorf("want a failed shed and a rollback all the same: %s", r.Summary())
		}
	})
}

func TestTheReleaseMovingOnEndsTheRecord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.history[shop()][0].Status = rollback.StatusPendingUpgrade
		e := newEngine(t, c, policy())
		run(t, e)
		accept(t, e, alert("rollback"))
		pass(10 * time.Second)
		if c.weight != "0" || c.rollbacks != 0 {
			t.Errorf("weight %s, %d rollbacks during an upgrade: want 0 and none", c.weight, c.rollbacks)
		}
		c.upgrade("v4", "Upgrade complete")
		pass(10 * time.Second)
		r, _ := c.record(shop(), 2)
		if r.Decision().Verdict != rollback.Stale || r.Closed.IsZero() || c.rollbacks != 0 {
			t.Errorf("%s, %d rollbacks: v4 is to be left alone", r.Summary(), c.rollbacks)
		}
	})
}

func TestAnUpgradeInFlightIsWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.history[shop()][0].Status = rollback.StatusPendingUpgrade
		e := newEngine(t, c, policy())
		run(t, e)
		accept(t, e, alert("rollback"))
		pass(10 * time.Second)
		c.mu.Lock()
		c.history[shop()][0].Status = rollback.StatusDeployed
		c.mu.Unlock()
		pass(10 * time.Second)
		if c.rollbacks != 1 {
			t.Errorf("%d rollbacks after the upgrade ended, want 1", c.rollbacks)
		}
	})
}

func TestANewProcessGoesOnWhereTheLastOneStood(t *testing.T) {
	done := func(at time.Time) *rollback.Step { return &rollback.Step{Started: at, Done: at} }
	for name, stood := range map[string]func(ctx context.Context, c *cluster, r *rollback.Record){
		"accused, nothing begun": func(context.Context, *cluster, *rollback.Record) {},
		"shed done":              func(_ context.Context, c *cluster, r *rollback.Record) { c.weight = "0"; r.Shed = done(time.Now()) },
		"rollback claimed, not written": func(_ context.Context, c *cluster, r *rollback.Record) {
			c.weight, r.Shed = "0", done(time.Now())
			r.Rollback, r.Target = &rollback.Step{Started: time.Now()}, 1
		},
		"rollback begun and interrupted": func(ctx context.Context, c *cluster, r *rollback.Record) {
			c.weight, r.Shed, c.interrupted = "0", done(time.Now()), 1
			r.Rollback, r.Target = &rollback.Step{Started: time.Now()}, 1
			plan := rollback.Plan{Key: shop(), Accused: c.history[shop()][0], Newest: c.history[shop()][0], Target: 1, Hold: zero}
			if _, err := c.RollBack(ctx, plan); err == nil {
				panic("the rollback was to be interrupted")
			}
		},
		"rollback written, not noted": func(ctx context.Context, c *cluster, r *rollback.Record) {
			c.weight, r.Shed = "0", done(time.Now())
			r.Rollback, r.Target = &rollback.Step{Started: time.Now()}, 1
			if _, err := c.RollBack(ctx, rollback.Plan{
				Key: shop(), Accused: c.history[shop()][0], Newest: c.history[shop()][0], Target: 1, Hold: zero,
			}); err != nil {
				panic(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				r := rollback.Record{
					Key: shop(), Revision: 2, UID: "uid-2", Content: "c3", Opened: time.Now(),
					Accusations: []rollback.Accusation{{Level: rollback.LevelRollback, Fingerprint: "e1", StartsAt: time.Now(), Received: time.Now(), Version: "v3"}},
					Decisions:   []rollback.Decision{{Verdict: rollback.Act, Shed: true, Rollback: true, Target: 1}},
				}
				stood(t.Context(), c, &r)
				if _, err := c.Save(t.Context(), r); err != nil {
					t.Fatal(err)
				}
				run(t, newEngine(t, c, policy()))
				pass(15 * time.Minute)
				got, _ := c.record(shop(), 2)
				if c.rollbacks != 1 || c.weight != "20" || !got.Rollback.Succeeded() || got.Closed.IsZero() {
					t.Errorf("%d rollbacks, weight %s, %s: want one rollback, the target's weight, a closed record", c.rollbacks, c.weight, got.Summary())
				}
			})
		})
	}
}

func TestStoppingFinishesTheStepInHand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		c.rollbackTime = time.Minute // longer than any other step may take
		e := newEngine(t, c, policy())
		stop := run(t, e)
		accept(t, e, alert("rollback"))
		pass(2 * time.Second)
		stop()
		if r, _ := c.record(shop(), 2); !r.Rollback.Succeeded() {
			t.Errorf("the process was told to stop in the middle of a rollback and left it: %+v", r.Rollback)
		}
	})
}

// pass lets time pass, in a bubble, and everything happen that is due by then. What the
// engine has written may be read without a lock afterwards.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}
