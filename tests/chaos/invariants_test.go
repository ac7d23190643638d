package chaos

import (
	"strings"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/tests/env/stage"
)

// good is what a clean run leaves behind.
func good() (*Run, Facts) {
	begin := time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)
	at := func(seconds float64) time.Time { return begin.Add(time.Duration(seconds * float64(time.Second))) }
	step := &rollback.Step{Started: at(1), Done: at(2)}
	return &Run{posted: begin}, Facts{
		Weight: "20",
		Revisions: []Revision{
			{Number: 1, UID: "a", Status: "superseded", Description: "Install complete"},
			{Number: 2, UID: "b", Status: "superseded", Description: "Upgrade complete"},
			{Number: 3, UID: "c", Status: "deployed", Description: "Rollback to 1"},
		},
		Records: []rollback.Record{{
			Revision: 2, UID: "b", Target: 1, Made: 3, Shed: step, Rollback: step, Restore: step, Closed: at(3),
			Weights: []rollback.Weight{{Kind: "Ingress", Name: stage.CanaryIngress, From: "20", To: "0"}},
		}},
		Commits: []Commit{
			{At: at(-1), What: "weight 20"},
			{At: at(-1), What: "canary v3 ready"},
			{At: at(1), What: "weight 0"},
			{At: at(2), What: "canary v2 rolling"},
			{At: at(3), What: "canary v2 ready"},
			{At: at(3), What: "weight 20"},
		},
		Visits: []stage.Visit{
			{At: at(0.5), Code: 500, Backend: stage.CanaryService},
			{At: at(1.5), Code: 200, Backend: stage.CanaryService, Version: "v3"},
			{At: at(4), Code: 200, Version: "v2"},
		},
	}
}

// Every rule finds what breaks it, and nothing in a clean run.
func TestRulesFindWhatBreaksThem(t *testing.T) {
	for _, c := range []struct {
		name  string
		rule  Rule // "" if none is broken
		spoil func(r *Run, f *Facts)
	}{
		{"nothing is wrong", "", func(*Run, *Facts) {}},
		{"a zero without a record", RuleZero, func(_ *Run, f *Facts) { f.Weight, f.Marked = "0", true }},
		{"a mark without a record", RuleZero, func(_ *Run, f *Facts) { f.Marked = true }},
		{"a hold without a zero", RuleZero, func(_ *Run, f *Facts) {
			f.Records[0].Closed, f.Records[0].Hold = time.Time{}, &rollback.Hold{}
		}},
		{"a revision is pending", RulePending, func(_ *Run, f *Facts) { f.Revisions[2].Status = "pending-rollback" }},
		{"two rollbacks", RuleOnce, func(_ *Run, f *Facts) {
			f.Revisions = append(f.Revisions, Revision{Number: 4, Status: "superseded", Description: "Rollback to 1"})
		}},
		{"no rollback", RuleOnce, func(_ *Run, f *Facts) { f.Revisions[2].Status = "failed" }},
		{"a 503", RuleTraffic, func(_ *Run, f *Facts) { f.Visits[2].Code = 503 }},
		{"a 500 of the stable track", RuleTraffic, func(_ *Run, f *Facts) { f.Visits[0].Backend = "canary-demo" }},
		{"v3 after zero", RuleTraffic, func(_ *Run, f *Facts) { f.Visits[2].Version = "v3" }},
		{"a 500 after zero", RuleTraffic, func(_ *Run, f *Facts) {
			f.Visits[2].Code, f.Visits[2].Backend = 500, stage.CanaryService
		}},
		{"v3 after an operator upgraded", "", func(r *Run, f *Facts) { f.Visits[2].Version, r.operatorSince = "v3", f.Visits[1].At }},
		{"never zero", RuleTraffic, func(_ *Run, f *Facts) { f.Commits = f.Commits[:2] }},
		{"restored too early", RuleTraffic, func(_ *Run, f *Facts) { f.Commits[4], f.Commits[5] = f.Commits[5], f.Commits[4] }},
		{"restored before the rollback", RuleTraffic, func(_ *Run, f *Facts) { f.Commits[3].What = "weight 20" }},
		{"another installation", RuleRecord, func(_ *Run, f *Facts) { f.Records[0].UID = "x" }},
		{"no record", RuleRecord, func(_ *Run, f *Facts) { f.Records = nil }},
		{"a wrong weight", RuleRecord, func(_ *Run, f *Facts) { f.Records[0].Weights[0].From = "0" }},
		{"no weight", RuleRecord, func(_ *Run, f *Facts) { f.Records[0].Weights = nil }},
		{"a rollback that the record lacks", RuleRecord, func(_ *Run, f *Facts) { f.Records[0].Rollback = nil }},
		{"a wrong revision made", RuleRecord, func(_ *Run, f *Facts) { f.Records[0].Made = 4 }},
		{"a wrong target", RuleRecord, func(_ *Run, f *Facts) { f.Records[0].Target = 2 }},
		{"a restore that the record lacks", RuleRecord, func(_ *Run, f *Facts) { f.Records[0].Restore = nil }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, f := good()
			c.spoil(r, &f)
			for _, check := range checks()[1:] { // the first one queries the API server
				check(t.Context(), r, f)
			}
			var found []string
			hit := c.rule == ""
			for _, b := range r.broken {
				found = append(found, string(b.Rule)+": "+b.Err.Error())
				hit = hit || b.Rule == c.rule
			}
			if !hit || c.rule == "" && len(found) > 0 {
				t.Errorf("found %q, want %q", strings.Join(found, "; "), c.rule)
			}
		})
	}
}

func TestLiveLacksWhatIsDeclared(t *testing.T) {
	type object = map[string]any
	for _, c := range []struct {
		name           string
		declared, live any
		differences    int
	}{
		{"the same", object{"a": "b"}, object{"a": "b"}, 0},
		{"more in a map", object{"a": "b"}, object{"a": "b", "c": "d"}, 0},
		{"less in a map", object{"a": "b", "c": "d"}, object{"a": "b"}, 1},
		{"another value", object{"a": object{"b": "c"}}, object{"a": object{"b": "d"}}, 1},
		{"more in a list", []any{"a"}, []any{"a", "b"}, 1},
		{"numbers", object{"a": int64(1)}, object{"a": float64(1)}, 0},
	} {
		if found := differ("", c.declared, c.live); len(found) != c.differences {
			t.Errorf("%s: %q, want %d differences", c.name, found, c.differences)
		}
	}
}
