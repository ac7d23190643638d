package rollback

import (
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
}

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
