package rollback

import (
	"slices"
	"time"
)

// maxAccusations bounds a record; an episode beyond it is only counted.
const maxAccusations = 20

// repeatInterval is how often a repeated delivery of a known episode is written.
const repeatInterval = 30 * time.Second

// Accuse adds a to the record, or refreshes the episode that it repeats. It
// reports whether the record has to be written.
func (r *Record) Accuse(a Accusation) bool {
	i := slices.IndexFunc(r.Accusations, func(b Accusation) bool { return b.Episode() == a.Episode() })
	if i < 0 && a.Resolved.IsZero() {
		return r.open(a)
	}
	if i < 0 {
		return false
	}
	known := &r.Accusations[i]
	if !a.Resolved.IsZero() {
		if !known.Resolved.IsZero() {
			return false
		}
		known.Resolved = a.Resolved
		return true
	}
	if known.Resolved.IsZero() && a.LastSeen.Sub(known.LastSeen) < repeatInterval {
		return false
	}
	if known.answer() == AnswerQuiet && !r.Shed.tried() {
		known.Confirmation = nil // it fires on: Prometheus is asked again
	}
	known.LastSeen, known.Resolved = a.LastSeen, time.Time{}
	return true
}

// open adds an unknown episode. A full record gives up its weakest accusation
// for a stronger one and otherwise only counts.
func (r *Record) open(a Accusation) bool {
	if len(r.Accusations) < maxAccusations {
		r.Accusations = append(r.Accusations, a)
		return true
	}
	r.Uncounted++
	weakest := 0
	for i, b := range r.Accusations {
		if r.weight(b) < r.weight(r.Accusations[weakest]) {
			weakest = i
		}
	}
	if r.weight(r.Accusations[weakest]) < r.weight(a) {
		r.Accusations[weakest] = a
	}
	return true
}

// weight orders accusations by how much is lost with them. What is over weighs
// nothing, or an alert that comes and goes would use up the record's room; but it
// stays if a step was begun for it.
func (r *Record) weight(a Accusation) int {
	if !a.Resolved.IsZero() && !r.Claimed() {
		return 0
	}
	return a.Level.rank()
}

// Holds reports whether the record knows this episode.
func (r *Record) Holds(e Episode) bool {
	return slices.ContainsFunc(r.Accusations, func(a Accusation) bool { return a.Episode() == e })
}
