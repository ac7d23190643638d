package report_test

import (
	"strings"
	"testing"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

func TestRecordSummary(t *testing.T) {
	done := &rollback.Step{Started: rollbacktest.Now(), Done: rollbacktest.Now()}
	record := rollback.Record{
		Key: rollback.Key{Namespace: "shop", Release: "web"}, Revision: 3,
		Decisions: []rollback.Decision{{Verdict: rollback.Act, Reason: "alert A fires for revision 3"}},
		Weights:   []rollback.Weight{{Kind: "Ingress", Name: "web-canary", From: "20", To: "0"}},
	}
	for _, c := range []struct {
		change func(*rollback.Record)
		want   string
		rule   string
	}{
		{func(*rollback.Record) {}, "revision 3 of shop/web: act (alert A fires for revision 3)", "only steps that were begun are in it"},
		{func(r *rollback.Record) { r.Shed = done }, "revision 3 of shop/web: act; Ingress/web-canary 20 -> 0 (alert A fires for revision 3)", "a shed is its weights"},
		{
			func(r *rollback.Record) { r.Shed, r.Rollback, r.Target, r.Made = done, done, 2, 4 },
			"revision 3 of shop/web: act; Ingress/web-canary 20 -> 0; rolled back to revision 2 as revision 4 (alert A fires for revision 3)",
			"a rollback is its revisions",
		},
		{
			func(r *rollback.Record) {
				r.Rollback = &rollback.Step{Failed: true, Error: "no such image"}
				r.Closed = rollbacktest.Now()
			},
			"revision 3 of shop/web: act; no such image (alert A fires for revision 3)", "a failed step is its error",
		},
		{
			func(r *rollback.Record) {
				r.Decisions = []rollback.Decision{{Verdict: rollback.Baked, Hold: true, NeedsHelp: true, Reason: "it is old", Command: rollback.ReadCommand("helm rollback web 2 -n shop")}}
				r.Shed, r.Hold = done, &rollback.Hold{Since: rollbacktest.Now()}
			},
			"revision 3 of shop/web: baked; Ingress/web-canary 20 -> 0; held at zero (it is old); to roll back all the same: helm rollback web 2 -n shop",
			"a record that needs help ends with the command",
		},
		{
			func(r *rollback.Record) {
				r.Shed, r.Hold = done, &rollback.Hold{Since: rollbacktest.Now()}
				r.Weights = []rollback.Weight{{Kind: "Ingress", Name: "web-canary", From: "20", To: "0", FieldManager: "helm"}}
			},
			"revision 3 of shop/web: act; Ingress/web-canary 20 -> 0; held at zero; helm applies Ingress/web-canary server-side: the API server " +
				"refuses its next upgrade as a conflict with field manager backout, unless an operator first runs: backout unhold shop/web (alert A fires for revision 3)",
			"a conflict to come is described with the way to avoid it",
		},
	} {
		r := record
		c.change(&r)
		if got := report.Summary(&r); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", c.rule, got, c.want)
		}
	}
	if got := report.Summary(&rollback.Record{Key: record.Key, Revision: 1}); strings.Contains(got, "\n") || strings.Contains(got, "()") {
		t.Errorf("a summary is one line also without a decision: got %q", got)
	}
}
