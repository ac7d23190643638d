package engine_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

// gauge has the engine know the live routes, as the gauge of weights reads them.
func (c *cluster) gauge(e *engine.Engine) {
	c.mu.Lock()
	held := c.weight == "0" && !c.unmarked
	c.mu.Unlock()
	e.OnReleases("canary-demo", []rollback.GuardedRelease{{
		Key: rollbacktest.Shop(), Routes: []rollback.RouteShare{{Route: "Ingress/shop-canary", Held: held}},
	}})
}

// leftAtZero has a closed record and a zero.
func leftAtZero(t *testing.T, c *cluster) {
	t.Helper()
	storeRecord(t, c, rollbackToV2(), func(r *rollback.Record) {
		r.Shed, r.Rollback, r.Restore, r.Verify = doneStep(), doneStep(), doneStep(), doneStep()
		r.Closed = time.Now().Add(-time.Hour)
	})
	c.setWeight("0")
}

func TestAZeroWithoutARecordIsReported(t *testing.T) {
	for name, prepare := range map[string]func(t *testing.T, c *cluster){
		"after a closed record": leftAtZero,
		"without any record":    func(_ *testing.T, c *cluster) { c.setWeight("0") },
	} {
		t.Run(name, func(t *testing.T) {
			synctestRun(t, func(t *testing.T, c *cluster) {
				prepare(t, c)
				e := newEngine(t, c, rollbacktest.Policy())
				c.gauge(e)
				stop := run(t, e)
				wait(time.Minute)
				r := c.shopRecord(2)
				if !r.HasLeftover() || !report.NeedsHelp(&r) || report.Commands(&r)[0].Line != r.UnholdCommand() || r.Closed.IsZero() {
					t.Fatalf("leftover %+v, %s; want it reported, with the command to end it", r.Leftover, report.Summary(&r))
				}
				found := r.Leftover.Started
				wait(time.Hour)
				if r := c.shopRecord(2); !r.Leftover.Started.Equal(found) {
					t.Errorf("found again at %s, first at %s; want it reported once", r.Leftover.Started, found)
				}
				// Another leader sees it end.
				stop()
				next := newEngine(t, c, rollbacktest.Policy())
				c.setWeight("20")
				c.gauge(next)
				run(t, next)
				wait(time.Minute)
				if r := c.shopRecord(2); r.HasLeftover() || report.NeedsHelp(&r) {
					t.Errorf("leftover %+v; want it over once the canary has a weight", r.Leftover)
				}
			})
		})
	}
}

func TestAZeroThatARecordAccountsForIsNotReported(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		startHold(t, c, e)
		c.gauge(e)
		wait(time.Minute)
		if r := c.shopRecord(2); r.Leftover != nil {
			t.Errorf("leftover %+v; want none: the record holds the weight", r.Leftover)
		}
	})
}

// The weights of the gauge may be half a minute old.
func TestAZeroThatIsGoneIsNotReported(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		c.setWeight("0")
		c.gauge(e)
		c.setWeight("20")
		wait(time.Minute)
		if r := c.shopRecord(2); r.Leftover != nil {
			t.Errorf("leftover %+v; want none: the weight is %s", r.Leftover, c.weight)
		}
	})
}

// The command closes the record before it restores the weight.
func TestAZeroRightAfterTheEndOfARecordIsNotReported(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		leftAtZero(t, c)
		c.change(func() { c.records[rollbacktest.Shop()][0].Closed = time.Now() })
		c.gauge(e)
		wait(20 * time.Second)
		if r := c.shopRecord(2); r.Leftover != nil {
			t.Errorf("leftover %+v; want none so soon", r.Leftover)
		}
		wait(time.Minute)
		if r := c.shopRecord(2); !r.HasLeftover() || !strings.Contains(r.Leftover.Error, "Ingress/shop-canary") {
			t.Errorf("leftover %+v; want the route named", r.Leftover)
		}
	})
}

func TestAFollowerReportsNoLeftover(t *testing.T) {
	synctestRun(t, func(t *testing.T, c *cluster) {
		leftAtZero(t, c)
		e := newEngine(t, c, rollbacktest.Policy(), follower)
		c.gauge(e)
		run(t, e)
		wait(time.Hour)
		if r := c.shopRecord(2); r.Leftover != nil {
			t.Errorf("leftover %+v of a replica that does not lead", r.Leftover)
		}
	})
}

// heldCheck calls before ahead of each look for marks.
type heldCheck struct {
	*cluster

	before func()
}

func (h heldCheck) Held(ctx context.Context, k rollback.Key, m rollback.Manifest) (bool, error) {
	h.before()
	return h.cluster.Held(ctx, k, m)
}

// TestAZeroOfASharedRoute: the release shop-0 declares a route to the pods of canary-demo, whose
// record accounts for the zero.
func TestAZeroOfASharedRoute(t *testing.T) {
	hold := func(r *rollback.Record) { r.Shed, r.Hold = doneStep(), &rollback.Hold{Since: time.Now()} }
	for name, tc := range map[string]struct {
		route    string
		held     bool
		late     bool
		leftover bool
	}{
		"the other release holds it":            {route: "Ingress/shop-canary", held: true},
		"it begins to hold it meanwhile":        {route: "Ingress/shop-canary", late: true},
		"the other release does not hold it":    {route: "Ingress/shop-canary", leftover: true},
		"the other release holds another route": {route: "Ingress/other", held: true, leftover: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctestRun(t, func(t *testing.T, c *cluster) {
				addReleases(c, 1)
				other := rollback.Key{Namespace: "canary-demo", Release: "shop-0"}
				c.setWeight("0")
				if tc.held {
					storeRecord(t, c, rollback.OrderedHold(rollbacktest.Shop(), "ann", time.Now()), hold)
				}
				store := sync.OnceFunc(func() {
					if tc.late {
						storeRecord(t, c, rollback.OrderedHold(rollbacktest.Shop(), "ann", time.Now()), hold)
					}
				})
				e := newEngine(t, c, rollbacktest.Policy(), func(o *engine.Options) { o.Traffic = heldCheck{c, store} })
				e.OnReleases("canary-demo", []rollback.GuardedRelease{
					{Key: other, Routes: []rollback.RouteShare{{Route: "Ingress/shop-canary", Held: true}}},
					{Key: rollbacktest.Shop(), Routes: []rollback.RouteShare{{Route: tc.route, Held: true}}},
				})
				run(t, e)
				wait(40 * time.Second)
				if r, _ := c.record(other, 2); (r.Leftover != nil) != tc.leftover {
					t.Errorf("leftover %+v; want one: %t", r.Leftover, tc.leftover)
				}
			})
		})
	}
}
