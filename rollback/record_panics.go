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

// NotePanic counts a panic over the record, with its cause. One of the decision sets the
// record aside at once: the same case gives the same panic.
func (r *Record) NotePanic(cause any, decision bool, now time.Time) {
	if r.Panics++; decision {
		r.Panics = max(r.Panics, maxPanics)
	}
	if !r.SetAside() {
		return
	}
	d := Decision{
		Verdict: Unsafe, NeedsHelp: true, At: now, Command: r.Key.HelmHistoryCommand(),
		Reason: Clip(fmt.Sprintf("an error in backout: %v; it takes no more steps for this record. Report the error with the log; delete ConfigMap %s in %s to have backout begin again",
			cause, r.Name(), r.Namespace), maxRecordText),
	}
	r.Closed = time.Time{}
	r.Decide(d)
}
