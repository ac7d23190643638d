package chaos

import (
	"errors"
	"testing"

	"github.com/upcommerce/backout/rollback"
)

// commanded is what a clean rollback of an operator leaves behind.
func commanded() (*Run, Facts) {
	r, f := good()
	record := &f.Records[0]
	record.Manual = &rollback.ManualRollback{Operator: operator, Target: 1, Made: 3, Ended: record.Closed}
	record.Rollback, record.Restore, record.Target, record.Made = nil, nil, 0, 0
	r.proxy, r.command = &Proxy{}, &Command{proxy: &Proxy{}}
	return r, f
}

// found returns the rules that the checks find broken.
func found(r *Run) map[Rule]bool {
	rules := make(map[Rule]bool)
	for _, b := range r.broken {
		rules[b.Rule] = true
	}
	return rules
}

func TestRulesOfACommandFindWhatBreaksThem(t *testing.T) {
	revision := []Write{{Path: "/api/v1/namespaces/a/secrets/sh.helm.release.v1.shop.v3"}}
	for name, c := range map[string]struct {
		rule  Rule // "" if none is broken
		spoil func(r *Run, f *Facts)
	}{
		"nothing is wrong":      {"", func(*Run, *Facts) {}},
		"backout wrote records": {"", func(r *Run, _ *Facts) { r.proxy.writes = []Write{{Path: "/api/v1/namespaces/a/configmaps/b"}} }},
		"an alert that was too late": {"", func(_ *Run, f *Facts) {
			stale := rollback.Decision{Verdict: rollback.Stale}
			f.Records = append(f.Records, rollback.Record{Revision: 3, Closed: f.Records[0].Closed, Decisions: []rollback.Decision{stale}})
		}},
		"an alert about the new revision": {RuleRecord, func(_ *Run, f *Facts) {
			f.Records = append(f.Records, rollback.Record{Revision: 3, Closed: f.Records[0].Closed, Decisions: []rollback.Decision{{Verdict: rollback.Act}}})
		}},
		"two writers":            {RuleOnce, func(r *Run, _ *Facts) { r.proxy.writes, r.command.proxy.writes = revision, revision }},
		"both have rolled back":  {RuleRecord, func(_ *Run, f *Facts) { f.Records[0].Rollback = f.Records[0].Shed }},
		"another operator":       {RuleRecord, func(_ *Run, f *Facts) { f.Records[0].Manual.Operator = "bob" }},
		"another revision":       {RuleRecord, func(_ *Run, f *Facts) { f.Records[0].Manual.Made = 2 }},
		"another target":         {RuleRecord, func(_ *Run, f *Facts) { f.Records[0].Manual.Target = 2 }},
		"a hold that goes on":    {RuleRecord, func(_ *Run, f *Facts) { f.Records[0].Hold = &rollback.Hold{} }},
		"a claim that goes on":   {RuleRecord, func(_ *Run, f *Facts) { f.Records[0].Manual.Ended = f.Records[0].Manual.Started }},
		"a command without deed": {RuleRecord, func(r *Run, f *Facts) { r.commandDone, f.Records[0].Manual = true, nil }},
	} {
		t.Run(name, func(t *testing.T) {
			r, f := commanded()
			c.spoil(r, &f)
			for _, check := range checks()[1:] { // the first one queries the API server
				check(t.Context(), r, f)
			}
			if rules := found(r); c.rule == "" && len(rules) > 0 || c.rule != "" && !rules[c.rule] {
				t.Errorf("found %v, want %q", r.broken, c.rule)
			}
		})
	}
}

// A command that was killed leaves its zero with a hold; what it says fits what it has done.
func TestWhatACommandLeavesIsChecked(t *testing.T) {
	for name, c := range map[string]struct {
		rule  Rule
		spoil func(l *left)
	}{
		"a zero with its hold":       {"", func(*left) {}},
		"nothing was changed":        {"", func(l *left) { l.Weight, l.Marked, l.Records = "20", false, nil }},
		"a zero without a record":    {RuleZero, func(l *left) { l.Records = nil }},
		"a mark without a record":    {RuleZero, func(l *left) { l.Weight, l.Records = "20", nil }},
		"it says that it has ended":  {RuleEnds, func(l *left) { l.err = nil }},
		"it stopped without advice":  {RuleAsks, func(l *left) { l.printed = "context canceled" }},
		"it had nothing to go on to": {"", func(l *left) { l.printed, l.Weight, l.Marked, l.Revisions = "", "20", false, l.Revisions[:2] }},
	} {
		t.Run(name, func(t *testing.T) {
			r, f := commanded()
			r.command.release = "a/shop"
			f.Weight, f.Marked = "0", true
			f.Records[0].Manual.Ended, f.Records[0].Closed, f.Records[0].Hold = f.Records[0].Manual.Started, f.Records[0].Manual.Started, &rollback.Hold{}
			l := left{Facts: f, err: errors.New("exit status 1"), printed: "go on with: backout rollback a/shop --to 1"}
			c.spoil(&l)
			r.checkLeft(l)
			if err := r.saysHowToGoOn(t.Context(), l); err != nil {
				t.Fatal(err)
			}
			if rules := found(r); c.rule == "" && len(rules) > 0 || c.rule != "" && !rules[c.rule] {
				t.Errorf("found %v, want %q", r.broken, c.rule)
			}
		})
	}
}
