package report

import (
	"fmt"
	"strings"

	"github.com/upcommerce/backout/rollback"
)

// Summary describes the record in one line.
func Summary(record *rollback.Record) string {
	printable := record.Printable()
	r, d := &printable, printable.Decision()
	parts := []string{fmt.Sprintf("revision %d of %s: %s", r.Revision, r.Key, d.Verdict)}
	if r.Shed.Succeeded() {
		for _, w := range r.Weights {
			parts = append(parts, w.String())
		}
	}
	if r.Rollback.Succeeded() {
		parts = append(parts, fmt.Sprintf("rolled back to revision %d as revision %d", r.Target, r.Made)+aboutTarget(r))
	}
	if r.Outcome != "" {
		parts = append(parts, string(r.Outcome))
	}
	if r.Hold.Active() {
		parts = append(parts, "held at zero")
		parts = append(parts, conflicts(r)...)
	}
	for _, s := range r.Steps() {
		switch {
		case s != nil && s.Failed:
			parts = append(parts, s.Error)
		case s != nil && !s.Finished() && s.Error != "":
			parts = append(parts, "not done yet: "+s.Error)
		case s != nil && s.Note != "":
			parts = append(parts, s.Note)
		}
	}
	text := strings.Join(parts, "; ")
	if d.Reason != "" {
		text += " (" + d.Reason + ")"
	}
	if commands := Commands(r); NeedsHelp(r) && len(commands) > 0 && r.Closed.IsZero() {
		text += "; " + commands[0].Why + ": " + commands[0].Line.String()
	}
	return text
}

// conflicts describes, for each held weight, the conflict that awaits the field manager
// that applies the object server-side, and how to avoid it.
func conflicts(r *rollback.Record) []string {
	var texts []string
	for _, w := range r.Weights {
		if w.FieldManager != "" {
			texts = append(texts, fmt.Sprintf("%s applies %s/%s server-side: the API server refuses its next upgrade as a conflict with field manager backout, unless an operator first runs: %s",
				managerName(w.FieldManager), w.Kind, w.Name, forRelease(r, r.UnholdCommand())))
		}
	}
	return texts
}
