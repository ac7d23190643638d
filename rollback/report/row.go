package report

import (
	"cmp"
	"fmt"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// Row is a record as a list shows it.
type Row struct {
	rollback.Key `json:",inline"`
	Revision     int              `json:"revision"`
	Opened       time.Time        `json:"opened"`
	Closed       time.Time        `json:"closed,omitzero"`
	State        State            `json:"state"`
	Verdict      rollback.Verdict `json:"verdict"`
	Reason       string           `json:"reason"`
	// Headline says what happened, in one sentence.
	Headline string `json:"headline"`
	// NeedsHelp says that an operator has to look; Advice says what to do.
	NeedsHelp bool   `json:"needsHelp,omitempty"`
	Advice    Advice `json:"advice"`
	// Leftover is when backout found a weight at zero that no record accounts for; zero without
	// one.
	Leftover time.Time `json:"leftover,omitzero"`
	// Alert and Summary are those of the first signal.
	Alert   string `json:"alert,omitempty"`
	Summary string `json:"summary,omitempty"`
	// Action is what Action returns.
	Action     string      `json:"action,omitempty"`
	Target     int         `json:"target,omitempty"`
	Milestones []Milestone `json:"milestones"`
}

// Open reports whether backout still works on the record.
func (r Row) Open() bool { return r.Closed.IsZero() }

// NewRow returns the record's row.
func NewRow(r rollback.Record) Row {
	r = r.Printable()
	row := Row{
		Key: r.Key, Revision: r.Revision, Opened: r.Opened, Closed: r.Closed, State: StateOf(&r),
		Verdict: r.Decision().Verdict, Reason: r.Decision().Reason, Headline: headline(&r),
		NeedsHelp: NeedsHelp(&r), Advice: advice(&r),
		Action: Action(&r), Target: r.Target, Milestones: Milestones(&r),
	}
	if r.HasLeftover() {
		row.Leftover = r.Leftover.Started
	}
	if len(r.Signals) > 0 {
		row.Alert, row.Summary = r.Signals[0].Alert, r.Signals[0].Summary
	}
	return row
}

// compare sorts open rows first, then the newest.
func (r Row) compare(o Row) int {
	switch {
	case r.Open() && !o.Open():
		return -1
	case !r.Open() && o.Open():
		return 1
	}
	return cmp.Or(o.Opened.Compare(r.Opened), r.Compare(o.Key), cmp.Compare(o.Revision, r.Revision))
}

// Action says in a few words what backout did to the release; "" if it did nothing.
func Action(r *rollback.Record) string {
	switch {
	case r.Rollback.Succeeded():
		return fmt.Sprintf("rolled back to revision %d", r.Target)
	case r.Rollback != nil && r.Rollback.Failed:
		return fmt.Sprintf("rollback to revision %d failed", r.Target)
	case r.Rollback != nil:
		return fmt.Sprintf("rolling back to revision %d", r.Target)
	case atZero(r):
		return "weight " + r.Weights[0].From + " -> " + r.Weights[0].To
	default:
		return ""
	}
}
