package report

import (
	"slices"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// Milestone is one point in the course of a record.
type Milestone struct {
	Name MilestoneName `json:"name"`
	At   time.Time     `json:"at"`
}

// MilestoneName is one word of a closed set.
type MilestoneName string

// The milestones, in their usual order.
const (
	// MilestoneFired is when the first alert began to fire, according to Alertmanager.
	MilestoneFired MilestoneName = "fired"
	// MilestoneReceived is when backout received the first signal.
	MilestoneReceived   MilestoneName = "received"
	MilestoneZero       MilestoneName = "zero"
	MilestoneRolledBack MilestoneName = "rolled-back"
	// MilestoneWeightRestored is when the canary had its weight back.
	MilestoneWeightRestored MilestoneName = "weight-restored"
	// MilestoneVerified is when the outcome was known.
	MilestoneVerified  MilestoneName = "verified"
	MilestoneHoldEnded MilestoneName = "hold-ended"
)

// Milestones returns the milestones that the record has reached, in order of time.
func Milestones(r *rollback.Record) []Milestone {
	var all []Milestone
	add := func(name MilestoneName, at time.Time) {
		if !at.IsZero() {
			all = append(all, Milestone{Name: name, At: at})
		}
	}
	if fired := firedAt(r); fired.Before(receivedAt(r)) {
		add(MilestoneFired, fired)
	}
	add(MilestoneReceived, receivedAt(r))
	if atZero(r) {
		add(MilestoneZero, r.Shed.Done)
	}
	if r.Rollback.Succeeded() {
		add(MilestoneRolledBack, r.Rollback.Done)
	}
	if r.Restore.Succeeded() && !r.HoldsTarget() {
		add(MilestoneWeightRestored, r.Restore.Done)
	}
	if r.Outcome != "" && r.Verify.Succeeded() {
		add(MilestoneVerified, r.Verify.Done)
	}
	if r.Hold != nil && r.Rollback == nil {
		add(MilestoneHoldEnded, r.Hold.Ended)
	}
	slices.SortStableFunc(all, func(a, b Milestone) int { return a.At.Compare(b.At) })
	return all
}

// TimeTo returns how long after the receipt of the first signal the record reached the
// milestone. The second result is false if it has not reached it.
func TimeTo(r *rollback.Record, name MilestoneName) (time.Duration, bool) {
	for _, m := range Milestones(r) {
		if m.Name == name {
			return m.At.Sub(receivedAt(r)), true
		}
	}
	return 0, false
}

// receivedAt is when backout received the record's first signal.
func receivedAt(r *rollback.Record) time.Time {
	first := r.Opened
	for _, s := range r.Signals {
		if !s.Received.IsZero() && s.Received.Before(first) {
			first = s.Received
		}
	}
	return first
}

// firedAt is when the first of the record's alerts began to fire; zero without a signal.
func firedAt(r *rollback.Record) time.Time {
	var first time.Time
	for _, s := range r.Signals {
		if first.IsZero() || s.StartsAt.Before(first) {
			first = s.StartsAt
		}
	}
	return first
}
