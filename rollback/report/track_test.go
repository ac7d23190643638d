package report_test

import (
	"strings"
	"testing"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/report/reporttest"
)

// Every command in a report that looks for the canary looks for the label of the running backout.
func TestCommandsNameTheTrackLabel(t *testing.T) {
	counts := make(map[string]int)
	for name, r := range reporttest.Records() {
		r.TrackLabel = "role=next"
		for _, c := range report.Commands(&r) {
			line := c.Line.String()
			for _, verb := range []string{"backout rollback ", "backout hold ", "backout unhold "} {
				if strings.Contains(line, verb) {
					counts[verb]++
					if !strings.HasSuffix(line, " --track-label role=next") {
						t.Errorf("%s: %q looks for another canary", name, line)
					}
				}
			}
		}
		text, finding := report.Summary(&r), 0
		for _, verb := range []string{"backout rollback ", "backout hold ", "backout unhold "} {
			finding += strings.Count(text, verb)
		}
		if finding != strings.Count(text, " --track-label role=next") {
			t.Errorf("%s: a command in %q looks for another canary", name, text)
		}
	}
	if len(counts) < 3 {
		t.Errorf("not every kind of command was compared: %v", counts)
	}
	d := rollback.DryRunResult{Record: rollback.Record{Key: rollback.Key{Namespace: "shop", Release: "web"}, Revision: 2, TrackLabel: "role=next"}}
	d.Record.Decide(rollback.Decision{Verdict: rollback.Unsafe, NeedsHelp: true, Command: d.Record.RollbackCommand(1)})
	if text := report.DryRun(d); !strings.Contains(text, "backout rollback shop/web --to 1 --track-label role=next") {
		t.Errorf("the command of a dry run looks for another canary: %s", text)
	}
}
