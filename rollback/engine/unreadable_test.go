package engine_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

// faulty is a cluster of which some calls fail, or never answer.
type faulty struct {
	*cluster
	observe, shed, hold, restore, ready func(context.Context) error
}

func (f *faulty) Observe(ctx context.Context, k rollback.Key, m rollback.Manifest, c rollback.Consistency) (rollback.Routing, error) {
	if err := f.fails(ctx, f.observe); err != nil {
		return rollback.Routing{}, err
	}
	return f.cluster.Observe(ctx, k, m, c)
}

func (f *faulty) Shed(ctx context.Context, k rollback.Key, m rollback.Manifest, seen rollback.Observation, p rollback.Precondition) ([]rollback.Weight, error) {
	if err := f.fails(ctx, f.shed); err != nil {
		return nil, err
	}
	return f.cluster.Shed(ctx, k, m, seen, p)
}

func (f *faulty) Hold(ctx context.Context, k rollback.Key, m rollback.Manifest) (func(rollback.Object), error) {
	if err := f.fails(ctx, f.hold); err != nil {
		return nil, err
	}
	return f.cluster.Hold(ctx, k, m)
}

func (f *faulty) Restore(ctx context.Context, k rollback.Key, m rollback.Manifest, p rollback.Precondition) ([]rollback.Weight, error) {
	if err := f.fails(ctx, f.restore); err != nil {
		return nil, err
	}
	return f.cluster.Restore(ctx, k, m, p)
}

func (f *faulty) Ready(ctx context.Context, k rollback.Key, revision int) (bool, string, error) {
	if err := f.fails(ctx, f.ready); err != nil {
		return false, "", err
	}
	return f.cluster.Ready(ctx, k, revision)
}

func (f *faulty) fails(ctx context.Context, call func(context.Context) error) error {
	if call == nil {
		return nil
	}
	return call(ctx)
}

func (f *faulty) connect(o *engine.Options) { o.Releases, o.Traffic = f, f }

var errForbidden = errors.New(`httproutes.gateway.networking.k8s.io "shop" is forbidden`)

func forbidden(context.Context) error { return errForbidden }

// busy is an API server that takes no request about the route on.
func busy(context.Context) error { return overloads(1, 0)[0] }

// unanswered is a kind for which the API server does not answer.
func unanswered(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestARouteThatCannotBeShedDoesNotDelayTheRollback(t *testing.T) {
	for name, f := range map[string]faulty{
		"that may not be read":                    {observe: forbidden, shed: forbidden, hold: forbidden, restore: forbidden},
		"whose kind is not answered for":          {observe: unanswered, shed: unanswered, hold: unanswered, restore: unanswered},
		"that a webhook refuses to change":        {shed: forbidden, restore: forbidden},
		"that the API server is too busy for":     {shed: busy, restore: busy},
		"whose shed alone is not answered":        {shed: unanswered},
		"whose observation alone is not answered": {observe: unanswered},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f.cluster = newCluster()
				f.trafficRate = 10
				f.answers = answers(rollback.AnswerFiring, rollback.AnswerQuiet)
				began := time.Now()
				var rolledBack time.Duration
				f.duringRollback = func() { rolledBack = time.Since(began) }
				e := newEngine(t, f.cluster, rollbacktest.Policy(), f.connect, withPrometheus(f.cluster))
				run(t, e)
				deliver(t, e, alert("rollback"))
				wait(time.Hour)
				r := f.shopRecord(2)
				if f.rollbacks != 1 || rolledBack > 3*time.Second {
					t.Fatalf("%d rollbacks, after %s; want one within 3 s; %s", f.rollbacks, rolledBack, report.Summary(&r))
				}
				if r.Outcome != rollback.OutcomeRecovered || r.Closed.IsZero() {
					t.Errorf("outcome %q, closed %s, restore %+v; want a verified rollback", r.Outcome, r.Closed, r.Restore)
				}
				if told := report.Explain(r).Headline; f.shed != nil && !strings.HasPrefix(told, "The canary's weight could not be set to zero: ") {
					t.Errorf("the report begins with %q; want it to begin with the weight", told)
				}
			})
		})
	}
}

// Before it sheds, backout does not wait longer than a second for routes and endpoints.
func TestASlowObservationDoesNotDelayTheShed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := faulty{cluster: newCluster(), observe: unanswered}
		e := newEngine(t, f.cluster, rollbacktest.Policy(), f.connect)
		run(t, e)
		deliver(t, e, alert("shed"))
		wait(1100 * time.Millisecond)
		if f.weight != "0" {
			t.Errorf("weight %s after 1.1 s; want zero", f.weight)
		}
	})
}

// Helm would give the canary traffic again in the middle of the rollback.
func TestNoRollbackBeginsWithoutTheHoldOfAZero(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := faulty{cluster: newCluster(), hold: forbidden}
		e := newEngine(t, f.cluster, rollbacktest.Policy(), f.connect)
		run(t, e)
		deliver(t, e, alert("rollback"))
		wait(time.Minute)
		r := f.shopRecord(2)
		if f.rollbacks != 0 || f.weight != "0" || !report.NeedsHelp(&r) {
			t.Fatalf("%d rollbacks, weight %s, needs help %t; want none, and the team notified", f.rollbacks, f.weight, report.NeedsHelp(&r))
		}
		f.hold = nil
		wait(time.Minute)
		if r := f.shopRecord(2); f.rollbacks != 1 || report.NeedsHelp(&r) {
			t.Errorf("%d rollbacks, %s; want one once the route can be read", f.rollbacks, report.Summary(&r))
		}
	})
}

func TestAnErrorOutsideAStepIsReported(t *testing.T) {
	for name, f := range map[string]faulty{
		"readiness that is forbidden":      {ready: forbidden},
		"readiness that is not answered":   {ready: unanswered},
		"a held route that cannot be read": {observe: forbidden},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f.cluster = newCluster()
				e := newEngine(t, f.cluster, rollbacktest.Policy(), f.connect)
				run(t, e)
				level := "rollback"
				if f.observe != nil {
					level = "shed"
				}
				deliver(t, e, alert(level))
				wait(6 * time.Hour)
				r := f.shopRecord(2)
				if !report.NeedsHelp(&r) || r.Obstacle == nil || r.Obstacle.Error == "" || len(report.Commands(&r)) == 0 {
					t.Errorf("after 6 h: %s, obstacle %+v; want the team notified, with a command", report.Summary(&r), r.Obstacle)
				}
			})
		})
	}
}

func TestAPauseThatCannotBeReadIsReported(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(5 * time.Second)
		c.change(func() {
			for range 1000 {
				c.pauseErrors = append(c.pauseErrors, errForbidden)
			}
		})
		wait(time.Minute)
		r := c.shopRecord(2)
		if !report.NeedsHelp(&r) || !strings.Contains(report.Explain(r).Headline, errForbidden.Error()) {
			t.Fatalf("%q; want the team notified of the pause that cannot be read", report.Explain(r).Headline)
		}
		c.change(func() { c.pauseErrors = nil })
		wait(time.Minute)
		if r := c.shopRecord(2); report.NeedsHelp(&r) || !r.Obstacle.Finished() {
			t.Errorf("%q; want that to be over", report.Explain(r).Headline)
		}
	}, upgradeInFlight)
}

// A short outage of the API server is no reason to notify the team.
func TestAHiccupIsNotReported(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		deliver(t, e, alert("rollback"))
		wait(5 * time.Second)
		c.change(func() {
			c.pauseErrors = []error{errAPIServer, errAPIServer, errAPIServer, errAPIServer, errAPIServer, errAPIServer}
		})
		wait(time.Minute)
		if r := c.shopRecord(2); r.Obstacle != nil {
			t.Errorf("obstacle %+v after six errors within seconds; want none", r.Obstacle)
		}
	}, upgradeInFlight)
}
