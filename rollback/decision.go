package rollback

import (
	"fmt"
	"strings"
	"time"
)

// Decision is the result of Decide, with its time.
type Decision struct {
	Verdict Verdict `json:"verdict"`
	// Operator is the one whose command wrote the decision; "" for a decision of backout.
	Operator string `json:"operator,omitempty"`
	// Reason is one sentence for operators.
	Reason string `json:"reason"`
	// Shed and Rollback are the steps to take.
	Shed     bool `json:"shed,omitempty"`
	Rollback bool `json:"rollback,omitempty"`
	// Hold says that the weight stays zero after the shed, until a revision with different
	// content arrives or an operator lifts the hold. Together with Rollback, it is that of the
	// target's canary, which runs the suspect's pods: see Revision.PromotedBy.
	Hold bool `json:"hold,omitempty"`
	// NeedsHelp says that an operator has to look.
	NeedsHelp bool `json:"needsHelp,omitempty"`
	// Command is the one that an operator would run now; none if there is nothing to do.
	Command Command `json:"command,omitzero"`
	// Target is the revision to roll back to, 0 if there is no rollback.
	Target int `json:"target,omitempty"`
	// SameImages says that the target runs the same images as the suspect revision.
	SameImages bool `json:"sameImages,omitempty"`
	// Waits says that backout decides again without a new alert: at RecheckAt at the
	// latest; if that is zero, as soon as the cluster has changed.
	Waits     bool      `json:"waits,omitempty"`
	RecheckAt time.Time `json:"recheckAt,omitzero"`
	At        time.Time `json:"at"`
}

// Same reports whether d and o are the same apart from the time of the decision.
func (d Decision) Same(o Decision) bool {
	// A time that was stored and read again differs in its zone's address.
	sameRecheck := d.RecheckAt.Equal(o.RecheckAt)
	d.At, o.At, d.RecheckAt, o.RecheckAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	return sameRecheck && d == o
}

// Effects returns what backout does because of the decision, as a sentence that follows
// Reason. It begins with a full stop.
func (d Decision) Effects() string {
	var parts []string
	if d.Shed {
		parts = append(parts, "set the weight to zero")
	}
	if d.Rollback {
		parts = append(parts, fmt.Sprintf("roll back to revision %d", d.Target))
	}
	switch {
	case d.Hold && d.Rollback:
		parts = append(parts, fmt.Sprintf("hold the canary of revision %d at zero", d.Target))
	case d.Hold:
		parts = append(parts, "hold it there")
	}
	if d.Waits {
		parts = append(parts, "decide again")
	}
	if d.NeedsHelp {
		parts = append(parts, "ask for help")
	}
	if len(parts) == 0 {
		parts = append(parts, "none")
	}
	return ". Effects: " + strings.Join(parts, ", ")
}
