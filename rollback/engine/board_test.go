package engine_test

import (
	"fmt"
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

func TestRefusalsAreShownAndCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := report.NewBoard()
		c := newCluster()
		e := newEngine(t, c, rollbacktest.Policy(), func(o *engine.Options) { o.Board = b })
		elsewhere, unknown, badLevel := alert("rollback"), alert("rollback"), alert("dance")
		elsewhere.Labels["namespace"] = "elsewhere"
		unknown.Labels["release"] = "gone"
		deliver(t, e, elsewhere)
		wait(time.Minute)
		deliver(t, e, unknown, badLevel, elsewhere)
		refusals := b.View().Refusals
		if len(refusals) != 3 {
			t.Fatalf("want three refusals, one for each reason: got %+v", refusals)
		}
		var repeated, unknownRelease rollback.Refusal
		for _, r := range refusals {
			switch {
			case r.Namespace == "elsewhere":
				repeated = r
			case r.Release == "gone":
				unknownRelease = r
			}
		}
		if repeated.Count != 2 || repeated.Last.Sub(repeated.First) != time.Minute || repeated.Verdict != rollback.NotAllowed {
			t.Errorf("a repeated refusal is not counted, with its first and last time: got %+v", repeated)
		}
		if unknownRelease.Verdict != rollback.UnknownRelease || unknownRelease.Alert != "CanaryErrors" || unknownRelease.Reason == "" {
			t.Errorf("an alert about a release that does not exist is not refused with a reason: got %+v", unknownRelease)
		}
		for i := range 300 {
			elsewhere.Labels["release"] = fmt.Sprintf("r%d", i)
			deliver(t, e, elsewhere)
		}
		if got := len(b.View().Refusals); got != 100 {
			t.Errorf("%d refusals are kept, want a bound of 100", got)
		}
	})
}

// The metrics say how many records are in which state, which one is the newest of each
// release, and for which release an operator has to look: after its end, only for a time.
func TestMetricsReportTheRecords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		registry, board := prometheus.NewRegistry(), report.NewBoard()
		registry.MustRegister(report.NewCollector(board))
		e := newEngine(t, newCluster(), rollbacktest.Policy(), func(o *engine.Options) { o.Board = board })
		start := time.Now()
		e.OnRecord(rollback.Record{
			Key: rollbacktest.Shop(), Revision: 2, Opened: start, Closed: start, Rollback: doneStep(), Outcome: rollback.OutcomeNotRecovered,
			Decisions: []rollback.Decision{{Verdict: rollback.Act}},
		})
		other := rollback.Key{Namespace: "canary-demo", Release: "other"}
		e.OnRecord(rollback.Record{Key: other, Revision: 7, Opened: start, Decisions: []rollback.Decision{{Verdict: rollback.Settling, Waits: true}}})
		e.OnRecord(rollback.Record{Key: other, Revision: 6, Opened: start.Add(-time.Hour), Closed: start, Decisions: []rollback.Decision{{Verdict: rollback.Stale}}})
		expect := func(needHelp string) {
			t.Helper()
			err := testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP backout_last_record_info The newest record of a release: verdict says why, state says how far it has come. Always 1.
# TYPE backout_last_record_info gauge
backout_last_record_info{namespace="canary-demo",release="canary-demo",revision="2",state="not-recovered",verdict="act"} 1
backout_last_record_info{namespace="canary-demo",release="other",revision="7",state="waiting",verdict="settling"} 1
# HELP backout_records Records that are kept, by state.
# TYPE backout_records gauge
backout_records{state="acting"} 0
backout_records{state="awaiting-rollback"} 0
backout_records{state="failed"} 0
backout_records{state="held"} 0
backout_records{state="hold-ended"} 0
backout_records{state="needs-help"} 0
backout_records{state="no-action"} 1
backout_records{state="not-recovered"} 1
backout_records{state="observed"} 0
backout_records{state="paused"} 0
backout_records{state="recovered"} 0
backout_records{state="restored"} 0
backout_records{state="shed-undone"} 0
backout_records{state="storm"} 0
backout_records{state="stuck"} 0
backout_records{state="unverified"} 0
backout_records{state="verifying"} 0
backout_records{state="waiting"} 1
# HELP backout_records_need_help Records of a release for which an operator has to look; a closed one counts for 4 hours after its end, or until its release has a record about a newer revision.
# TYPE backout_records_need_help gauge
backout_records_need_help{namespace="canary-demo",release="canary-demo"} `+needHelp+`
backout_records_need_help{namespace="canary-demo",release="other"} 0
# HELP backout_records_open Records that backout still works on.
# TYPE backout_records_open gauge
backout_records_open 1
`), "backout_last_record_info", "backout_records", "backout_records_need_help", "backout_records_open")
			if err != nil {
				t.Error(err)
			}
		}
		expect("1")
		wait(5 * time.Hour)
		expect("0")
	})
}
