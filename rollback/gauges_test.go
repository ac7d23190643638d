package rollback_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/upcommerce/backout/rollback"
)

// What Prometheus is told of the records: how many are in which state, the newest of each release, and whose call for a person
// is not yet old.
func TestMetricsTellHowTheRecordsStand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry := prometheus.NewRegistry()
		e := newEngine(t, newCluster(), policy(), func(o *rollback.Options) { o.Registerer = registry })
		start := time.Now()
		done := func() *rollback.Step { return &rollback.Step{Started: start, Done: start} }
		e.Notice(rollback.Record{
			Key: shop(), Revision: 2, Opened: start, Closed: start, Rollback: done(), Outcome: rollback.NotRecovered,
			Decisions: []rollback.Decision{{Verdict: rollback.Act}},
		})
		other := rollback.Key{Namespace: "canary-demo", Release: "other"}
		e.Notice(rollback.Record{Key: other, Revision: 7, Opened: start, Decisions: []rollback.Decision{{Verdict: rollback.Settling, Waits: true}}})
		e.Notice(rollback.Record{Key: other, Revision: 6, Opened: start.Add(-time.Hour), Closed: start, Decisions: []rollback.Decision{{Verdict: rollback.Stale}}})
		tells := func(help string) {
			t.Helper()
			err := testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP backout_last_record_info The newest record of a release: verdict is why, state how far it has come. Always 1.
# TYPE backout_last_record_info gauge
backout_last_record_info{namespace="canary-demo",release="canary-demo",revision="2",state="not-recovered",verdict="act"} 1
backout_last_record_info{namespace="canary-demo",release="other",revision="7",state="waiting",verdict="settling"} 1
# HELP backout_records Records that are kept, by state.
# TYPE backout_records gauge
backout_records{state="acting"} 0
backout_records{state="failed"} 0
backout_records{state="held"} 0
backout_records{state="not-recovered"} 1
backout_records{state="recovered"} 0
backout_records{state="released"} 0
backout_records{state="restored"} 0
backout_records{state="unjudged"} 0
backout_records{state="untouched"} 1
backout_records{state="waiting"} 1
backout_records{state="watching"} 0
# HELP backout_records_need_help Records of a release that call for a person; one that failed or did not help, for 4 hours after its end.
# TYPE backout_records_need_help gauge
backout_records_need_help{namespace="canary-demo",release="canary-demo"} `+help+`
backout_records_need_help{namespace="canary-demo",release="other"} 0
# HELP backout_records_open Records that backout still works on.
# TYPE backout_records_open gauge
backout_records_open 1
`), "backout_last_record_info", "backout_records", "backout_records_need_help", "backout_records_open")
			if err != nil {
				t.Error(err)
			}
		}
		tells("1")
		pass(5 * time.Hour)
		tells("0")
	})
}

// A watchdog accuses nobody. One of another cluster, or of a namespace that is not guarded, shows no route of ours.
func TestWatchdogsAreCountedByTheirNamespace(t *testing.T) {
	registry := prometheus.NewRegistry()
	board := rollback.NewBoard()
	e := newEngine(t, newCluster(), policy(), func(o *rollback.Options) { o.Registerer, o.Board = registry, board })
	watchdog := func(labels map[string]string) rollback.Alert {
		labels["alertname"], labels["backout"] = "BackoutWatchdog", "watchdog"
		return rollback.Alert{Labels: labels}
	}
	over := watchdog(map[string]string{"namespace": "canary-demo"})
	over.Resolved = true
	err := e.Accept(t.Context(), []rollback.Alert{
		watchdog(map[string]string{"namespace": "canary-demo"}), over,
		watchdog(map[string]string{"namespace": "canary-demo", "cluster": "staging"}),
		watchdog(map[string]string{"namespace": "kube-system"}), watchdog(map[string]string{}),
	})
	if err != nil {
		t.Fatal(err)
	}
	err = testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP backout_alerts_ignored_total Alerts that led to no decision, by reason.
# TYPE backout_alerts_ignored_total counter
backout_alerts_ignored_total{reason="bad-label"} 3
backout_alerts_ignored_total{reason="no-backout-label"} 0
backout_alerts_ignored_total{reason="other-cluster"} 0
backout_alerts_ignored_total{reason="release-not-opted-in"} 0
# HELP backout_watchdogs_total Watchdog alerts received, by the guarded namespace whose route they came by.
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
		t.Errorf("people are shown %d refusals, want those of the three watchdogs that are not ours", refused)
	}
}
