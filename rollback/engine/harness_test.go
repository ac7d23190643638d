package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

// simulate runs the test in a bubble, on a cluster with those changes and a running
// engine that leads. The engine queries Prometheus if the cluster has answers.
func simulate(t *testing.T, test func(t *testing.T, c *cluster, e *engine.Engine), changes ...func(*cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		for _, change := range changes {
			change(c)
		}
		var options []func(*engine.Options)
		if len(c.answers) > 0 {
			options = append(options, withPrometheus(c))
		}
		e := newEngine(t, c, rollbacktest.Policy(), options...)
		run(t, e)
		test(t, c, e)
	})
}

// synctestRun runs the test in a bubble, on a cluster without an engine.
func synctestRun(t *testing.T, test func(t *testing.T, c *cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newCluster()) })
}

// newEngine returns an engine that leads, unless an option says otherwise.
func newEngine(t *testing.T, c *cluster, p rollback.Policy, options ...func(*engine.Options)) *engine.Engine {
	t.Helper()
	o := engine.Options{
		Releases: c, Traffic: c, Ledger: c, Policy: p,
		Registerer: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler),
	}
	for _, option := range options {
		option(&o)
	}
	e, err := engine.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// errAPIServer is an error of a cluster that cannot be reached.
var errAPIServer = errors.New("the API server is unavailable")

// leader changes nothing: an engine leads by default.
func leader(*engine.Options) {}

// follower makes the engine one of a replica that does not lead.
func follower(o *engine.Options) {
	o.Leads = func() error { return errors.New("another replica leads") }
}

// withPrometheus has the engine query the cluster's Prometheus.
func withPrometheus(c *cluster) func(*engine.Options) {
	return func(o *engine.Options) { o.Prometheus = c }
}

// run runs the engine until the test ends or calls stop, which returns after Run has.
func run(t *testing.T, e *engine.Engine) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := e.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	stop = sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(stop)
	return stop
}

// wait lets time pass in a bubble, and returns when everything that is due has
// happened. Until it is called again, the test may read the cluster without its lock.
func wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// deliver has the engine accept the alerts as one webhook.
func deliver(t *testing.T, e *engine.Engine, alerts ...rollback.Alert) {
	t.Helper()
	if err := e.Accept(t.Context(), alerts); err != nil {
		t.Fatalf("Accept: %v", err)
	}
}

// alert is about v3, the version of revision 2, and fires since 10 seconds ago.
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

// alertAbout is an alert at the level rollback about another version, or about none if
// that is "".
func alertAbout(version string) rollback.Alert {
	a := alert("rollback")
	a.Fingerprint = "e2"
	a.Labels["version"] = version
	if version == "" {
		delete(a.Labels, "version")
	}
	return a
}

// settlingAlert names no version and fires since before revision 2 was deployed.
func settlingAlert() rollback.Alert {
	a := alert("rollback")
	delete(a.Labels, "version")
	a.StartsAt = time.Now().Add(-10 * time.Minute)
	return a
}

// addReleases adds n releases like the demo's, and returns an alert about each.
func addReleases(c *cluster, n int) []rollback.Alert {
	var alerts []rollback.Alert
	for i := range n {
		k := rollback.Key{Namespace: "canary-demo", Release: fmt.Sprintf("shop-%d", i)}
		c.history[k] = slices.Clone(c.history[rollbacktest.Shop()])
		a := alert("rollback")
		a.Labels["release"], a.Fingerprint = k.Release, fmt.Sprintf("e%d", i)
		alerts = append(alerts, a)
	}
	return alerts
}

// keyOf is the release that the alert is about.
func keyOf(a rollback.Alert) rollback.Key {
	return rollback.Key{Namespace: a.Labels["namespace"], Release: a.Labels["release"]}
}

// answers are Prometheus', in order.
func answers(all ...rollback.Answer) []rollback.Confirmation {
	var confirmations []rollback.Confirmation
	for _, a := range all {
		confirmations = append(confirmations, rollback.Confirmation{Answer: a})
	}
	return confirmations
}

// bakedRevision has the newest revision be older than the bake window.
func bakedRevision(c *cluster) { c.newest().Deployed = time.Now().Add(-48 * time.Hour) }

// upgradeInFlight has a Helm upgrade work on the newest revision.
func upgradeInFlight(c *cluster) { c.newest().Status = rollback.StatusPendingUpgrade }

// storeRecord stores a record of revision 2 with that decision, as an earlier process
// left it.
func storeRecord(t *testing.T, c *cluster, d rollback.Decision, changes ...func(*rollback.Record)) {
	t.Helper()
	r := rollback.Record{
		Key: rollbacktest.Shop(), Revision: 2, UID: "uid-2", Content: "c3", Opened: time.Now(),
		Signals:   []rollback.Signal{{Level: rollback.LevelRollback, Fingerprint: "e1", StartsAt: time.Now(), Received: time.Now(), Version: "v3"}},
		Decisions: []rollback.Decision{d},
	}
	for _, change := range changes {
		change(&r)
	}
	if _, err := c.Save(t.Context(), r); err != nil {
		t.Fatal(err)
	}
}

// rollbackToV2 decides to shed and to roll back.
func rollbackToV2() rollback.Decision {
	return rollback.Decision{Verdict: rollback.Act, Shed: true, Rollback: true, Target: 1}
}

// claimRollback has the record claim the rollback to revision 1.
func claimRollback(r *rollback.Record) { r.Rollback, r.Target = startedStep(), 1 }

// liftHold has the record say that an operator has lifted its hold.
func liftHold(r *rollback.Record) {
	now := time.Now()
	r.Closed, r.Shed = now, doneStep()
	r.Hold = &rollback.Hold{Since: now, Ended: now, Lifted: true}
}

func startedStep() *rollback.Step { return &rollback.Step{Started: time.Now()} }

func doneStep() *rollback.Step {
	now := time.Now()
	return &rollback.Step{Started: now, Done: now, Attempts: 1}
}
