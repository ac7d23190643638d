package report_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/report/reporttest"
)

func settings() report.Settings {
	return report.Settings{Cluster: "blue", Dashboard: "https://grafana.example/d/backout?orgId=1"}
}

// TestReports compares what operators read about every kind of record with the files in
// testdata/reports. UPDATE=1 rewrites them.
func TestReports(t *testing.T) {
	for name, r := range reporttest.Records() {
		t.Run(name, func(t *testing.T) {
			rep := report.Of(r, settings())
			if again := report.Of(r, settings()); !cmp.Equal(rep, again) {
				t.Error("the same record always gives the same report")
			}
			golden(t, name, printed(&rep, report.NewRow(r)))
		})
	}
}

// printed is the texts that readers get about a record.
func printed(r *report.Report, row report.Row) string {
	var b strings.Builder
	fmt.Fprintf(&b, "-- state --\n%s needsHelp=%t closed=%t\n", r.State, r.NeedsHelp, r.Closed)
	fmt.Fprintf(&b, "-- headline --\n%s\n%s\n", row.Headline, strings.TrimSpace(row.Advice.Text+"\n"+row.Advice.Command.String()))
	fmt.Fprintf(&b, "-- text --\n%s\n-- timeline --\n", r.Text())
	for _, e := range r.Timeline {
		fmt.Fprintf(&b, "%s outcome=%t needsHelp=%t %s: %s\n", e.Key, e.Outcome, e.NeedsHelp, e.Kind.Reason(), rollback.Printable(e.Text))
	}
	return b.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", "reports", name+".txt")
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("the texts that operators read have changed; read them, then UPDATE=1 (-file +now):\n%s", diff)
	}
}

// TestEveryWordHasARecord: a new verdict, outcome, state or kind of entry begins with
// the texts that operators read about it.
func TestEveryWordHasARecord(t *testing.T) {
	seen := make(map[string]bool)
	for _, r := range reporttest.Records() {
		rep := report.Of(r, settings())
		seen["verdict "+string(rep.Verdict)], seen["state "+string(rep.State)] = true, true
		seen["outcome "+string(r.Outcome)] = true
		for _, e := range rep.Timeline {
			seen["entry "+string(e.Kind)] = true
		}
		if rep.Meaning == "" || rep.Title == "" {
			t.Errorf("%s: every verdict has a meaning and every record a title: %+v", rep.Verdict, rep)
		}
	}
	var want []string
	for _, v := range rollback.Verdicts() {
		want = append(want, "verdict "+string(v))
	}
	for _, s := range report.States() {
		want = append(want, "state "+string(s))
	}
	for _, k := range report.EntryKinds() {
		want = append(want, "entry "+string(k))
	}
	for _, o := range []rollback.Outcome{rollback.OutcomeRecovered, rollback.OutcomeRestored, rollback.OutcomeNotRecovered} {
		want = append(want, "outcome "+string(o))
	}
	for _, w := range want {
		if !seen[w] {
			t.Errorf("no record has %s", w)
		}
	}
}

// TestARequestForHelpComesWithACommand: safety rule 9.
func TestARequestForHelpComesWithACommand(t *testing.T) {
	for name, r := range reporttest.Records() {
		rep := report.Of(r, settings())
		if rep.NeedsHelp && len(rep.Commands) == 0 {
			t.Errorf("%s: the record needs help, and its report has no command", name)
		}
		if _, requested := rep.HelpRequested(); rep.NeedsHelp && (!requested || len(rep.Outcomes()) == 0) {
			t.Errorf("%s: the record needs help, and no channel would ask for it: no entry does, or none is an outcome", name)
		}
		for _, e := range rep.Timeline {
			if e.At.IsZero() || e.Key == "" {
				t.Errorf("%s: an entry has a time and a key: %+v", name, e)
			}
		}
	}
}

// TestAnAlertsTextIsNeverACommandOrATitle: other systems write it.
func TestAnAlertsTextIsNeverACommandOrATitle(t *testing.T) {
	rep := report.Of(reporttest.Records()["hostile"], settings())
	for _, c := range rep.Commands {
		if strings.Contains(c.Line.String(), "rm -rf") || strings.Contains(c.Line.String(), "reboot") {
			t.Errorf("a command contains an alert's text: %s", c.Line)
		}
	}
	if strings.Contains(rep.Title, "rm -rf") {
		t.Errorf("the title contains an alert's text: %s", rep.Title)
	}
}

// TestAnyRecordCanBeReported: records are ConfigMaps, and users edit them. No content of
// one stops a process, leaves the closed sets, or asks for help that no channel reports.
func TestAnyRecordCanBeReported(t *testing.T) {
	steps := []*rollback.Step{nil, {}, reporttest.Step(0, time.Second), reporttest.FailingStep(20, "x"), {Failed: true}}
	outcomes := []rollback.Outcome{"", rollback.OutcomeRecovered, rollback.OutcomeRestored, rollback.OutcomeNotRecovered, "nonsense"}
	holds := []*rollback.Hold{nil, {}, {Since: reporttest.Opened(), Ended: reporttest.At(time.Hour)}}
	decisions := []rollback.Decision{{}, reporttest.Act(), {Verdict: "nonsense", Hold: true, NeedsHelp: true}, {Verdict: rollback.Unconfirmed}}
	count := 0
	for i := range len(steps) * len(steps) * len(steps) * len(steps) * len(steps) {
		for j, d := range decisions {
			r := reporttest.Record(d)
			n := i
			for _, s := range []**rollback.Step{&r.Preflight, &r.Shed, &r.Rollback, &r.Restore, &r.Verify} {
				*s = steps[n%len(steps)]
				n /= len(steps)
			}
			r.Outcome, r.Hold = outcomes[(i+j)%len(outcomes)], holds[(i+j)%len(holds)]
			if i%2 == 0 {
				r.Signals, r.Weights = nil, []rollback.Weight{{}}
			}
			if i%3 == 0 {
				r.Decisions = nil
			}
			if i%7 == 0 {
				r.Closed = reporttest.At(time.Hour)
			}
			rep := report.Of(r, settings())
			if !slices.Contains(report.States(), rep.State) {
				t.Errorf("%d/%d: state %q is not one of States", i, j, rep.State)
			}
			if _, requested := rep.HelpRequested(); rep.NeedsHelp && !requested {
				t.Errorf("%d/%d: %s needs help, and no entry asks for it", i, j, rep.State)
			}
			_, _, _ = report.Explain(r).String(), report.NewRow(r), report.Summary(&r)
			count++
		}
	}
	if count < 10000 {
		t.Errorf("%d records were tried", count)
	}
}

func TestHumanDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0.0 s", 300 * time.Millisecond: "0.3 s", 12400 * time.Millisecond: "12 s", 130 * time.Second: "2 min",
	} {
		if got := report.HumanDuration(d); got != want {
			t.Errorf("%s is shown as %q, got %q", d, want, got)
		}
	}
}

// TestARepeatAddsNoEntry: the same alert any number of times adds nothing, and another
// alert is a detail.
func TestARepeatAddsNoEntry(t *testing.T) {
	r := reporttest.Record(reporttest.Act(), reporttest.RolledBack)
	before := keys(report.Of(r, settings()).Timeline)
	r.Signals[0].LastSeen = reporttest.At(time.Hour)
	d := r.Decisions[0]
	d.At, d.Reason = reporttest.At(time.Minute), "the same in other words"
	r.Decisions = append(r.Decisions, d)
	if now := keys(report.Of(r, settings()).Timeline); !slices.Equal(before, now) {
		t.Errorf("a repeat adds an entry: %v, then %v", before, now)
	}
	other := r.Signals[0]
	other.Fingerprint = "e2"
	r.Signals = append(r.Signals, other)
	rep := report.Of(r, settings())
	if len(rep.Timeline) != len(before)+1 || len(rep.Outcomes()) != 1 {
		t.Errorf("another alert is one detail more and no outcome: %v", keys(rep.Timeline))
	}
}

// TestAFailureForGoodIsReportedAfterARetriedOne: they are two entries.
func TestAFailureForGoodIsReportedAfterARetriedOne(t *testing.T) {
	for name, set := range map[string]func(r *rollback.Record, s *rollback.Step){
		"rollback": func(r *rollback.Record, s *rollback.Step) { r.Rollback, r.Target = s, 5 },
		"restore":  func(r *rollback.Record, s *rollback.Step) { reporttest.RolledBack(r); r.Restore = s },
	} {
		retried, failed := reporttest.Record(reporttest.Act()), reporttest.Record(reporttest.Act())
		set(&retried, reporttest.FailingStep(report.Patience, "x"))
		set(&failed, reporttest.FailedStep(20, "x"))
		before, after := report.Of(retried, settings()), report.Of(failed, settings())
		first, _ := before.First(report.EntryFailed)
		last, _ := after.First(report.EntryFailed)
		if first.Key == "" || last.Key == "" || first.Key == last.Key || !first.Outcome || !last.Outcome {
			t.Errorf("%s: got %+v, then %+v", name, first, last)
		}
	}
}

func keys(entries []report.Entry) []string {
	all := make([]string, len(entries))
	for i, e := range entries {
		all[i] = e.Key
	}
	slices.Sort(all)
	return all
}

func TestAStormIsOneReport(t *testing.T) {
	var members []report.Report
	for i := range 31 {
		r := reporttest.Shift(reporttest.Records()["storm"], reporttest.At(time.Duration(30-i)*time.Second))
		r.Release = fmt.Sprintf("web%02d", i)
		members = append(members, report.Of(r, settings()))
	}
	got := report.OfStorm(members, settings())
	if !got.Opened.Equal(reporttest.Opened()) || !got.NeedsHelp || got.Record != "" || got.State != report.StateStorm {
		t.Errorf("it begins with the first of its records, belongs to none, and asks for help: %+v", got)
	}
	if want := "storm: alerts fire for 31 releases at once; backout touched nothing"; got.Title != want {
		t.Errorf("title %q, want %q", got.Title, want)
	}
	if n := len(got.Releases); n != 21 || got.Releases[0] != "shop/web00" || got.Releases[20] != "and 11 more" {
		t.Errorf("it names 20 releases and counts the others: %v", got.Releases)
	}
	golden(t, "storm_report", got.Text()+"\n")
}
