package rollback

import (
	"fmt"
	"time"
)

// maxPanics is how many panics of steps set a record aside.
const maxPanics = 2

// SetAside reports whether backout has panicked over the record so often that it takes no
// more steps for it: an operator has to look.
func (r *Record) SetAside() bool { return r.Panics >= maxPanics }

// NotePanic counts a panic of a step, with its cause.
func (r *Record) NotePanic(cause any, now time.Time) {
	if r.Panics = max(r.Panics, 0) + 1; r.SetAside() {
		r.NoteDecisionPanic(cause, now)
	}
}

// NoteDecisionPanic sets the record aside after a panic of the decision: the same case gives
// the same panic.
func (r *Record) NoteDecisionPanic(cause any, now time.Time) {
	r.Panics = max(r.Panics, maxPanics)
	d := Decision{
		Verdict: Unsafe, NeedsHelp: true, At: now, Command: r.Key.HelmHistoryCommand(),
		Reason: Clip(fmt.Sprintf("an error in backout: %v; it takes no more steps for this record. Report the error with the log; delete ConfigMap %s in %s to have backout begin again",
			cause, r.Name(), r.Namespace), maxRecordText),
	}
	r.Closed = time.Time{}
	r.Decide(d)
}
