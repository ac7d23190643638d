package rollback

import (
	"time"
)

// Bounds of a trace: older revisions, signals, and runes of a result.
const (
	maxCandidates    = 20
	maxTracedSignals = 8
	maxResult        = 200
)

// Trace lists the checks that Decide made for a decision, with their results. Operators
// read it; no decision depends on it.
type Trace struct {
	// At is when the decision was made.
	At time.Time `json:"at"`
	// Checks are in the order in which they were made, down to the one that decided.
	Checks []TraceCheck `json:"checks,omitempty"`
	// Candidates are the older revisions that were considered as the target, newest
	// first, down to the target; none if the decision needed no target.
	Candidates []Candidate `json:"candidates,omitempty"`
}

// TraceCheck is one check of a decision and its result.
type TraceCheck struct {
	Name   string `json:"name"`
	Result string `json:"result"`
}

// Candidate is one older revision that was considered as the target.
type Candidate struct {
	Revision int       `json:"revision"`
	Status   Status    `json:"status,omitempty"`
	Deployed time.Time `json:"deployed,omitzero"`
	// Reason says why it is not the target; "" if it is.
	Reason string `json:"reason,omitempty"`
	// Zero says that it is the target only because no other revision qualifies: its canary runs
	// the suspect's pods, and stays at zero after the rollback.
	Zero bool `json:"zero,omitempty"`
}

// Round rounds a duration for readers: to milliseconds below a minute, to seconds from
// there on.
func Round(d time.Duration) time.Duration {
	if d.Abs() < time.Minute {
		return d.Round(time.Millisecond)
	}
	return d.Round(time.Second)
}
