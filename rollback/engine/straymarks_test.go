package engine_test

import (
	"bytes"
	"log/slog"
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

// uninstalled has a release that is gone, with the closed record of a hold of it.
func uninstalled(t *testing.T, c *cluster) {
	t.Helper()
	storeRecord(t, c, rollback.OrderedHold(rollbacktest.Shop(), "ann", time.Now()), func(r *rollback.Record) {
		r.Shed, r.Hold, r.Closed = doneStep(), &rollback.Hold{Since: time.Now(), Ended: time.Now(), Reason: "the release is gone"}, time.Now()
		r.Weights = []rollback.Weight{{Kind: "HTTPRoute", Name: "shop rule 2", From: "20", To: "0"}}
	})
	c.change(func() { delete(c.history, rollbacktest.Shop()) })
}

// seen has the engine know the records, and the marked routes as the gauge reads them for a minute.
func seen(c *cluster, e *engine.Engine, routes ...string) {
	e.OnRecord(c.shopRecord(2))
	for range 3 {
		e.OnStrayMarks("canary-demo", routes)
		wait(20 * time.Second)
	}
}

func TestAMarkOfAReleaseThatIsGoneIsReported(t *testing.T) {
	synctestRun(t, func(t *testing.T, c *cluster) {
		uninstalled(t, c)
		e := newEngine(t, c, rollbacktest.Policy())
		stop := run(t, e)
		seen(c, e, "HTTPRoute.gateway.networking.k8s.io/shop")
		r := c.shopRecord(2)
		said := report.Of(r, report.Settings{})
		if !r.HasStrayRoutes() || !report.NeedsHelp(&r) || !strings.Contains(said.Text(), "HTTPRoute/shop") {
			t.Fatalf("leftover %+v, %s; want the mark reported", r.Leftover, report.Summary(&r))
		}
		var lines []string
		for _, command := range report.Commands(&r)[:2] {
			lines = append(lines, command.Line.String())
		}
		if want := []string{"kubectl edit httproute.gateway.networking.k8s.io shop -n canary-demo", "kubectl annotate httproute.gateway.networking.k8s.io shop -n canary-demo backout.dev/held-weight- backout.dev/held-rules-"}; !slices.Equal(lines, want) {
			t.Errorf("commands %q, want %q", lines, want)
		}
		found := r.Leftover.Started
		stop()
		next := newEngine(t, c, rollbacktest.Policy())
		run(t, next)
		seen(c, next, "HTTPRoute.gateway.networking.k8s.io/shop")
		if r := c.shopRecord(2); !r.HasStrayRoutes() || !r.Leftover.Started.Equal(found) {
			t.Errorf("leftover %+v, found first at %s; want the next leader to go on with it", r.Leftover, found)
		}
		seen(c, next)
		if r := c.shopRecord(2); r.HasLeftover() || report.NeedsHelp(&r) {
			t.Errorf("leftover %+v; want it over once the mark is gone", r.Leftover)
		}
	})
}

// TestForgedLeftoversCauseNoReads: other clients write records, too.
func TestForgedLeftoversCauseNoReads(t *testing.T) {
	for name, forge := range map[string]func(*rollback.Record){
		"not signed":   func(r *rollback.Record) { r.Unsigned = true },
		"not opted in": func(r *rollback.Record) { r.Namespace = "elsewhere" },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				e := newEngine(t, c, rollbacktest.Policy())
				run(t, e)
				r := rollback.NewRecord(rollback.Key{Namespace: rollbacktest.Shop().Namespace, Release: "invented"}, rollback.Revision{Number: 1}, nil, time.Now())
				r.Closed, r.Leftover = time.Now(), &rollback.Step{Started: time.Now()}
				forge(&r)
				e.OnRecord(r)
				wait(time.Second)
				before := c.storedReads
				e.OnStrayMarks(r.Namespace, nil)
				wait(time.Minute)
				if n := c.storedReads - before; n > 0 {
					t.Errorf("%d reads about a release that no record of backout knows", n)
				}
			})
		})
	}
}

// TestAMarkOfAReleaseIsNotStray: a revision of it ends the zero, or is compared with its records.
func TestAMarkOfAReleaseIsNotStray(t *testing.T) {
	synctestRun(t, func(t *testing.T, c *cluster) {
		uninstalled(t, c)
		c.change(func() {
			c.history[rollbacktest.Shop()] = rollback.History{{Number: 3, UID: "uid-3", Status: rollback.StatusDeployed, Deployed: time.Now()}}
		})
		e := newEngine(t, c, rollbacktest.Policy())
		run(t, e)
		seen(c, e, "HTTPRoute.gateway.networking.k8s.io/shop")
		if r := c.shopRecord(2); r.Leftover != nil {
			t.Errorf("leftover %+v, want none", r.Leftover)
		}
	})
}

// TestAHoldOfAReleaseThatIsUninstalledLeavesNoMarkInSilence: the hold ends with the release.
func TestAHoldOfAReleaseThatIsUninstalledLeavesNoMarkInSilence(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		startHold(t, c, e)
		c.change(func() { c.newest().Status = rollback.StatusUninstalled })
		seen(c, e, "Ingress/shop-canary")
		if r := c.shopRecord(2); r.Hold.Active() || !r.HasStrayRoutes() {
			t.Errorf("hold %+v, leftover %+v; want the mark reported after the end of the hold", r.Hold, r.Leftover)
		}
	})
}

// TestAStrayMarkEndsWhenTheReleaseIsBack: then the marks on its routes are those of a release.
func TestAStrayMarkEndsWhenTheReleaseIsBack(t *testing.T) {
	synctestRun(t, func(t *testing.T, c *cluster) {
		uninstalled(t, c)
		e := newEngine(t, c, rollbacktest.Policy())
		run(t, e)
		seen(c, e, "HTTPRoute.gateway.networking.k8s.io/shop")
		e.OnRecord(c.shopRecord(2))
		c.change(func() {
			c.history[rollbacktest.Shop()] = rollback.History{{Number: 1, UID: "uid-new", Status: rollback.StatusDeployed, Deployed: time.Now()}}
		})
		seen(c, e, "HTTPRoute.gateway.networking.k8s.io/shop")
		if r := c.shopRecord(2); r.Leftover == nil || r.HasLeftover() {
			t.Errorf("leftover %+v, want it over", r.Leftover)
		}
	})
}

// TestALeftoverOfAReleaseThatIsGoneEnds: its routes are gone as well.
func TestALeftoverOfAReleaseThatIsGoneEnds(t *testing.T) {
	synctestRun(t, func(t *testing.T, c *cluster) {
		leftAtZero(t, c)
		e := newEngine(t, c, rollbacktest.Policy())
		c.gauge(e)
		run(t, e)
		wait(time.Minute)
		if r := c.shopRecord(2); !r.HasLeftover() {
			t.Fatalf("leftover %+v, want one", r.Leftover)
		}
		c.change(func() { delete(c.history, rollbacktest.Shop()) })
		e.OnReleases("canary-demo", nil)
		seen(c, e)
		if r := c.shopRecord(2); r.HasLeftover() {
			t.Errorf("leftover %+v of a release that is gone, want it over", r.Leftover)
		}
	})
}

// TestAMarkOfWhichNoRecordKnowsIsLogged: once, with the command.
func TestAMarkOfWhichNoRecordKnowsIsLogged(t *testing.T) {
	synctestRun(t, func(t *testing.T, c *cluster) {
		uninstalled(t, c)
		var log bytes.Buffer
		e := newEngine(t, c, rollbacktest.Policy(), func(o *engine.Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
		stop := run(t, e)
		seen(c, e, "Ingress.networking.k8s.io/other")
		seen(c, e, "Ingress.networking.k8s.io/other")
		stop()
		if strings.Count(log.String(), "kubectl annotate ingress.networking.k8s.io other -n canary-demo") != 1 {
			t.Errorf("the log says once how to remove the mark: got %s", log.String())
		}
		if r := c.shopRecord(2); r.Leftover != nil {
			t.Errorf("leftover %+v, want none: that is a route of no record", r.Leftover)
		}
	})
}
