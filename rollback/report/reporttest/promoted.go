package reporttest

import (
	"time"

	"github.com/upcommerce/backout/rollback"
)

// promoted are records about a revision that promoted a canary, and is rolled back to the one
// with that canary, which stays at zero.
func promoted() map[string]rollback.Record {
	d := Act()
	d.Hold = true
	d.Reason = "an alert fires for revision 7; revision 5 is the only good one with different content; the canary of revision 5 runs the pods of revision 7, and has to stay at zero"
	held := func(r *rollback.Record) {
		Restored(r)
		r.Restore.Note = "the canary of revision 8 stays at zero: it runs the pods of revision 7"
	}
	restored := func(r *rollback.Record) {
		Verified(rollback.OutcomeRestored, "the alert is quiet; the canary stays at zero, so that nothing proves that the stable track is good")(r)
		held(r)
	}
	return map[string]rollback.Record{
		"act_target_held":             Record(d, held),
		"act_target_held_no_route":    Record(d, held, ShedWithoutRoute),
		"act_target_held_restored":    Record(d, restored),
		"act_target_held_rolled_back": Record(d, RolledBack),
		"act_held_target": Record(rollback.Decision{}, func(r *rollback.Record) {
			suspect := Record(d, RolledBack)
			r.Revision, r.UID, r.Content, r.Signals, r.Decisions = 8, "uid-8", "c5", nil, nil
			r.HoldTarget(suspect, []rollback.Weight{{Kind: "Ingress", Name: "web-canary", From: "0", To: "0"}}, At(2*time.Second))
		}),
	}
}
