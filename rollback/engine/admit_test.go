package engine_test

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

func TestRefusedAlertsTouchNothing(t *testing.T) {
	for name, change := range map[string]func(*rollback.Alert, *rollback.Policy){
		"no release is opted in":        func(_ *rollback.Alert, p *rollback.Policy) { p.Releases = nil },
		"another release is opted in":   func(_ *rollback.Alert, p *rollback.Policy) { p.Releases = []string{"canary-demo/shop"} },
		"another namespace is opted in": func(_ *rollback.Alert, p *rollback.Policy) { p.Releases = []string{"shop/*"} },
		"the alert is about another cluster": func(a *rollback.Alert, p *rollback.Policy) {
			a.Labels["cluster"], p.Cluster = "staging", "production"
		},
		"the alert names no cluster":        func(_ *rollback.Alert, p *rollback.Policy) { p.Cluster = "production" },
		"no cluster is configured":          func(a *rollback.Alert, _ *rollback.Policy) { a.Labels["cluster"] = "staging" },
		"the release does not exist":        func(a *rollback.Alert, _ *rollback.Policy) { a.Labels["release"] = "shop" },
		"the alert has no backout label":    func(a *rollback.Alert, _ *rollback.Policy) { delete(a.Labels, "backout") },
		"the level does not exist":          func(a *rollback.Alert, _ *rollback.Policy) { a.Labels["backout"] = "delete" },
		"the namespace is a path":           func(a *rollback.Alert, _ *rollback.Policy) { a.Labels["namespace"] = "../kube-system" },
		"the release is a glob":             func(a *rollback.Alert, _ *rollback.Policy) { a.Labels["release"] = "*" },
		"the alert arrives when it is over": func(a *rollback.Alert, _ *rollback.Policy) { a.Resolved = true },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, p, a := newCluster(), rollbacktest.Policy(), alert("rollback")
				change(&a, &p)
				e := newEngine(t, c, p)
				run(t, e)
				deliver(t, e, a)
				wait(time.Hour)
				if c.rollbacks != 0 || len(c.weightsWritten) != 0 || len(c.records) != 0 {
					t.Errorf("%d rollbacks, weights written %v, %d records; want none", c.rollbacks, c.weightsWritten, len(c.records))
				}
			})
		})
	}
}

// A watchdog of another cluster, or of a namespace that is not guarded, says nothing
// about a route to this backout.
func TestWatchdogsAreCountedByNamespace(t *testing.T) {
	registry := prometheus.NewRegistry()
	board := report.NewBoard()
	e := newEngine(t, newCluster(), rollbacktest.Policy(), func(o *engine.Options) { o.Registerer, o.Board = registry, board })
	watchdog := func(labels map[string]string) rollback.Alert {
		labels["alertname"], labels["backout"] = "BackoutWatchdog", "watchdog"
		return rollback.Alert{Labels: labels}
	}
	resolved := watchdog(map[string]string{"namespace": "canary-demo"})
	resolved.Resolved = true
	deliver(
		t, e, watchdog(map[string]string{"namespace": "canary-demo"}), resolved,
		watchdog(map[string]string{"namespace": "canary-demo", "cluster": "staging"}),
		watchdog(map[string]string{"namespace": "kube-system"}), watchdog(map[string]string{}),
	)
	err := testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP backout_alerts_ignored_total Alerts that led to no decision, by reason.
# TYPE backout_alerts_ignored_total counter
backout_alerts_ignored_total{reason="bad-label"} 3
backout_alerts_ignored_total{reason="no-backout-label"} 0
backout_alerts_ignored_total{reason="no-data"} 0
backout_alerts_ignored_total{reason="other-cluster"} 0
backout_alerts_ignored_total{reason="release-not-opted-in"} 0
backout_alerts_ignored_total{reason="sender-not-allowed"} 0
# HELP backout_watchdogs_total Watchdog alerts received, by the guarded namespace whose route delivered them.
# TYPE backout_watchdogs_total counter
backout_watchdogs_total{namespace="canary-demo"} 1
`), "backout_alerts_ignored_total", "backout_watchdogs_total")
	if err != nil {
		t.Error(err)
	}
	refused := 0
	for _, r := range board.View().Refusals {
		refused += r.Count
	}
	if refused != 3 {
		t.Errorf("the board shows %d refusals, want those of the three watchdogs that do not count", refused)
	}
}

// A sender whose alerts are all refused fills neither the log nor hides the alerts of another.
func TestAFloodOfRefusedAlertsIsCountedInTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		e := newEngine(t, newCluster(), rollbacktest.Policy(), func(o *engine.Options) { o.Log = slog.New(slog.NewTextHandler(&log, nil)) })
		refused := func(sender, namespace string) rollback.Alert {
			a := alert("rollback")
			a.Labels["namespace"], a.Sender = namespace, &rollback.Sender{Name: sender, Namespaces: []string{"canary-demo"}}
			return a
		}
		flood := slices.Repeat([]rollback.Alert{refused("token of canary-demo", "kube-system")}, 1000)
		deliver(t, e, append(flood, refused("token of shop", "kube-system"))...)
		for peer, want := range map[string]int{"token of canary-demo": 20, "token of shop": 1} {
			if got := strings.Count(log.String(), "msg=\"alert refused\" peer=\""+peer+"\""); got != want {
				t.Errorf("%d lines are about the %s, want %d", got, peer, want)
			}
		}
		wait(time.Minute)
		deliver(t, e, flood[0])
		if got := log.String(); !strings.Contains(got, "more alerts were refused\" peer=\"token of canary-demo\" reason=sender-not-allowed count=980") {
			t.Errorf("the next line comes with the number of those that were left out: got %s", got[max(0, len(got)-500):])
		}
	})
}
