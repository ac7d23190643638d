package rollback_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

// TestDecide runs the scenarios in testdata/decide. Each file is one story: its comment
// says what happens and why, then come the facts, then the decision and its trace as
// operators read them. UPDATE=1 rewrites both.
func TestDecide(t *testing.T) {
	files, err := filepath.Glob("testdata/decide/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			c := readCase(t, archive)
			decision, trace := rollback.DecideWithTrace(c)
			gotDecision, gotTrace := formatDecision(decision), formatTrace(trace)
			if untraced := rollback.Decide(c); untraced != decision {
				t.Errorf("the trace does not change the decision: got %v with it, %v without", decision, untraced)
			}
			if os.Getenv("UPDATE") != "" {
				rollbacktest.SetSection(archive, "decision", gotDecision)
				rollbacktest.SetSection(archive, "trace", gotTrace)
				if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(rollbacktest.Section(archive, "decision"), gotDecision); diff != "" {
				t.Errorf("%s\nthe decision differs (-want +got):\n%s", archive.Comment, diff)
			}
			if diff := cmp.Diff(rollbacktest.Section(archive, "trace"), gotTrace); diff != "" {
				t.Errorf("%s\nthe trace differs (-want +got):\n%s", archive.Comment, diff)
			}
		})
	}
}

func formatDecision(d rollback.Decision) string {
	var b strings.Builder
	var notes []string
	fmt.Fprintf(&b, "verdict: %s\nshed: %t\nrollback: %t\n", d.Verdict, d.Shed, d.Rollback)
	if d.Target != 0 {
		fmt.Fprintf(&b, "target: %d\n", d.Target)
	}
	if !d.RecheckAt.IsZero() {
		fmt.Fprintf(&b, "recheck: in %s\n", d.RecheckAt.Sub(rollbacktest.Now()))
	}
	for note, set := range map[string]bool{"hold": d.Hold, "needs help": d.NeedsHelp, "waits": d.Waits} {
		if set {
			notes = append(notes, note)
		}
	}
	if slices.Sort(notes); len(notes) > 0 {
		fmt.Fprintf(&b, "then: %s\n", strings.Join(notes, ", "))
	}
	fmt.Fprintf(&b, "reason: %s\n", d.Reason)
	if d.Command != (rollback.Command{}) {
		fmt.Fprintf(&b, "command: %s\n", d.Command)
	}
	return b.String()
}

func formatTrace(t rollback.Trace) string {
	var b strings.Builder
	for _, c := range t.Checks {
		fmt.Fprintf(&b, "%s: %s\n", c.Name, c.Result)
	}
	for _, c := range t.Candidates {
		yes := "yes"
		if c.Zero {
			yes += ", with its canary at zero"
		}
		fmt.Fprintf(&b, "candidate %d: %s\n", c.Revision, or(c.Reason, yes))
	}
	return b.String()
}
