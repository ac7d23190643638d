package rollback

import (
	"fmt"
	"slices"
	"time"
)

// Hold is the time in which backout keeps the canary's weight at zero although it does not
// roll the release back.
type Hold struct {
	Since time.Time `json:"since"`
	// Ended is when it ended; zero while it is active.
	Ended time.Time `json:"ended,omitzero"`
	// Reason says what ended it: different content, `backout unhold`, or a client that
	// restored the weight.
	Reason string `json:"reason,omitempty"`
	// Lifted says that an operator ended it, and vouches for the content.
	Lifted bool `json:"lifted,omitempty"`

	// Reopened is how often a client that is not an operator has given the canary a weight
	// during the hold, ReopenedAt when that was last, and ReopenedBy who it was.
	Reopened   int       `json:"reopened,omitempty"`
	ReopenedAt time.Time `json:"reopenedAt,omitzero"`
	ReopenedBy string    `json:"reopenedBy,omitempty"`
	// Problem says why the weight could not be set to zero again; "" if it could.
	Problem string `json:"problem,omitempty"`
}

// HoldsTarget reports whether the rollback that the record decides, or has begun, holds the
// canary of its target at zero: Revision.PromotedBy.
func (r *Record) HoldsTarget() bool {
	target := max(r.Target, r.Decision().Target)
	for _, d := range slices.Backward(r.Decisions) {
		if d.Rollback && d.Target == target {
			return d.Hold
		}
	}
	return false
}

// HoldTarget begins the hold of the canary of the record's revision, which the rollback of the
// suspect's record has made: it runs the suspect's pods. The weights are those that were set to
// zero. The decision leaves room for one about an alert that fires for that revision.
func (r *Record) HoldTarget(suspect Record, weights []Weight, now time.Time) {
	r.Decide(Decision{
		Verdict: Act, Shed: true, Hold: true, At: now, Command: r.UnholdCommand(),
		Reason: fmt.Sprintf("revision %d is the rollback of revision %d to revision %d, whose canary runs the pods of revision %d",
			r.Revision, suspect.Revision, suspect.Target, suspect.Revision),
	})
	r.Shed.Finish(now, nil, 1)
	r.Weights, r.Hold, r.Closed = weights, &Hold{Since: now}, time.Time{}
}

// reopenedOften is how often a weight is set to zero again at once. After that, backout waits
// longer each time: it would only fight with the other client.
const reopenedOften = 3

// ZeroAgainIn returns how long an open weight is left alone before it is set to zero again.
func (h *Hold) ZeroAgainIn(now time.Time) time.Duration {
	if h.Reopened < reopenedOften {
		return 0
	}
	wait := min(time.Second<<min(h.Reopened-reopenedOften, 10), MaxRetryWait)
	return max(h.ReopenedAt.Add(wait).Sub(now), 0)
}

// KeepsReopening reports whether another client gives the canary a weight again and again.
func (h *Hold) KeepsReopening() bool { return h != nil && h.Reopened >= reopenedOften }

// Active reports whether backout holds the weight now; a nil hold never began.
func (h *Hold) Active() bool { return h != nil && h.Ended.IsZero() }

// End ends an active hold; it leaves others as they are.
func (h *Hold) End(now time.Time, why string) {
	if h.Active() {
		h.Ended, h.Reason = now, why
	}
}

// Lift ends an active hold on the order of an operator; it leaves others as they are.
func (h *Hold) Lift(now time.Time, why string) {
	if h.Active() {
		h.End(now, why)
		h.Lifted = true
	}
}
