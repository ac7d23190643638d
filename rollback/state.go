package rollback

import (
	"fmt"
	"slices"
	"time"
)

// State is the one word for how far a record has come. Verdict is why; State is
// what a person who looks now finds.
type State string

// The states.
const (
	// StateActing: a step is being done.
	StateActing State = "acting"
	// StateWatching: rolled back, and it is not yet known whether that helped.
	StateWatching State = "watching"
	// StateWaiting: decided again by itself.
	StateWaiting State = "waiting"
	// StateHeld: the canary's weight stays zero, and nothing is rolled back.
	StateHeld State = "held"
	// StateRecovered, StateRestored and StateNotRecovered are the outcomes.
	StateRecovered    State = "recovered"
	StateRestored     State = "restored"
	StateNotRecovered State = "not-recovered"
	// StateFailed: a step failed, and is not tried again.
	StateFailed State = "failed"
	// StateUnjudged: rolled back, and the release moved on before it was judged.
	StateUnjudged State = "unjudged"
	// StateReleased: a hold that is over.
	StateReleased State = "released"
	// StateUntouched: nothing was done.
	StateUntouched State = "untouched"
)

// States returns every state: what is going on first.
func States() []State {
	return []State{
		StateActing, StateWatching, StateWaiting, StateHeld, StateFailed, StateNotRecovered,
		StateRestored, StateRecovered, StateUnjudged, StateReleased, StateUntouched,
	}
}

// State returns how far the record has come.
func (r *Record) State() State {
	d := r.Decision()
	open := r.Closed.IsZero()
	switch {
	case r.failed() != nil:
		return StateFailed
	case r.Outcome != "":
		return State(r.Outcome)
	case r.Hold.Lasts() && r.Rollback == nil:
		return StateHeld
	case open && r.Raise.Succeeded():
		return StateWatching
	case open && r.Rollback == nil && d.Waits && (!d.Shed || r.Shed.Finished()):
		return StateWaiting
	case open && (d.Shed || d.Rollback || r.Rollback != nil):
		return StateActing
	case open:
		return StateWaiting
	case r.Rollback.Succeeded():
		return StateUnjudged
	case r.Hold != nil:
		return StateReleased
	default:
		return StateUntouched
	}
}

// failed returns the step that ended the record, nil if none did. A shed gives way
// to the rollback, and a look ahead to a hold.
func (r *Record) failed() *Step {
	for _, s := range []*Step{r.Rollback, r.Raise} {
		if s != nil && s.Failed {
			return s
		}
	}
	return nil
}

// Calls reports whether a person has to do something about the record.
func (r *Record) Calls() bool {
	switch r.State() { //nolint:exhaustive // the others call as long as they are open.
	case StateFailed, StateNotRecovered:
		return true
	case StateUntouched: // by backout: what another tool does is for people
		return r.Decision().People
	}
	return r.Closed.IsZero() && r.Decision().People
}

// Moment is one point of a record's story.
type Moment struct {
	What MomentKind `json:"what"`
	At   time.Time  `json:"at"`
}

// MomentKind is a closed set of words.
type MomentKind string

// The moments, in their usual order.
const (
	// MomentFired is since when the first alert fires, by its own word.
	MomentFired MomentKind = "fired"
	// MomentReceived is when backout heard of it.
	MomentReceived   MomentKind = "received"
	MomentZero       MomentKind = "zero"
	MomentRolledBack MomentKind = "rolled-back"
	MomentRaised     MomentKind = "raised"
	MomentJudged     MomentKind = "judged"
	MomentReleased   MomentKind = "released"
)

// Moments returns what has happened so far, in order.
func (r *Record) Moments() []Moment {
	var all []Moment
	add := func(what MomentKind, at time.Time) {
		if !at.IsZero() {
			all = append(all, Moment{what, at})
		}
	}
	if fired := r.firedAt(); fired.Before(r.receivedAt()) {
		add(MomentFired, fired)
	}
	add(MomentReceived, r.receivedAt())
	if r.Shed.Succeeded() && len(r.Weights) > 0 {
		add(MomentZero, r.Shed.Done)
	}
	if r.Rollback.Succeeded() {
		add(MomentRolledBack, r.Rollback.Done)
	}
	if r.Raise.Succeeded() {
		add(MomentRaised, r.Raise.Done)
	}
	if r.Outcome != "" && r.Verify.Succeeded() {
		add(MomentJudged, r.Verify.Done)
	}
	if r.Hold != nil && r.Rollback == nil {
		add(MomentReleased, r.Hold.Ended)
	}
	slices.SortStableFunc(all, func(a, b Moment) int { return a.At.Compare(b.At) })
	return all
}

// receivedAt is when backout first heard of what the record is about.
func (r *Record) receivedAt() time.Time {
	first := r.Opened
	for _, a := range r.Accusations {
		if !a.Received.IsZero() && a.Received.Before(first) {
			first = a.Received
		}
	}
	return first
}

// firedAt is since when the first of the record's alerts fires; zero if there is
// none.
func (r *Record) firedAt() time.Time {
	var first time.Time
	for _, a := range r.Accusations {
		if first.IsZero() || a.StartsAt.Before(first) {
			first = a.StartsAt
		}
	}
	return first
}

// After returns how long after the receipt of the first alert the moment came. The
// second result is false if it has not come.
func (r *Record) After(what MomentKind) (time.Duration, bool) {
	for _, m := range r.Moments() {
		if m.What == what {
			return m.At.Sub(r.receivedAt()), true
		}
	}
	return 0, false
}

// Did says in a few words what was done to the release; "" if nothing was.
func (r *Record) Did() string {
	switch {
	case r.Rollback.Succeeded():
		return fmt.Sprintf("rolled back to revision %d", r.Target)
	case r.Rollback != nil && r.Rollback.Failed:
		return fmt.Sprintf("rollback to revision %d failed", r.Target)
	case r.Rollback != nil:
		return fmt.Sprintf("rolling back to revision %d", r.Target)
	case r.Shed.Succeeded() && len(r.Weights) > 0:
		return "weight " + r.Weights[0].From + " -> " + r.Weights[0].To
	default:
		return ""
	}
}
