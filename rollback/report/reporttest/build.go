// Package reporttest has records for the tests of everything that shows them: one for
// every verdict, state, outcome and kind of entry, and the parts to build others.
package reporttest

import (
	"time"

	"github.com/upcommerce/backout/rollback"
)

// Opened is when every record of this package was opened.
func Opened() time.Time { return time.Date(2026, time.March, 4, 3, 0, 0, 0, time.UTC) }

// At returns the time d after Opened.
func At(d time.Duration) time.Time { return Opened().Add(d) }

// Key is the release of every record of this package.
func Key() rollback.Key { return rollback.Key{Namespace: "shop", Release: "web"} }

// Change changes a record.
type Change = func(*rollback.Record)

// Record returns a record with one alert about revision 7 and one decision.
func Record(d rollback.Decision, changes ...Change) rollback.Record {
	d.At = At(20 * time.Millisecond)
	r := rollback.Record{
		Key: Key(), Revision: 7, UID: "uid-7", Content: "c7", Opened: Opened(),
		Signals: []rollback.Signal{{
			Alert: "CanaryErrorRatio", Level: rollback.LevelRollback, Fingerprint: "e1",
			Summary:     "Canary v3 of shop/web fails 50% of its requests",
			Description: "In the last minute the canary failed 50% of 600 requests, the stable track 0.1% (z 18.2).",
			Link:        "https://prometheus.example/graph?g0.expr=ratio&g0.tab=1",
			StartsAt:    At(-30 * time.Second), Received: Opened(), LastSeen: Opened(),
		}},
		Decisions: []rollback.Decision{d},
	}
	for _, change := range changes {
		change(&r)
	}
	return r
}

// Act is the decision to shed and to roll back to revision 5.
func Act() rollback.Decision {
	return rollback.Decision{
		Verdict: rollback.Act, Shed: true, Rollback: true, Target: 5,
		Reason: "an alert fires for revision 7; revision 5 is the newest good one with different content",
	}
}

// Hold is a decision to shed, to hold the weight at zero, and to ask for help.
func Hold(v rollback.Verdict, reason string) rollback.Decision {
	return rollback.Decision{Verdict: v, Shed: true, Hold: true, NeedsHelp: true, Reason: reason, Command: rollback.ReadCommand(manualCommand)}
}

// HoldAsOrdered is the decision to shed and to hold the weight at zero, as the signal
// asks.
func HoldAsOrdered(reason string) rollback.Decision {
	return rollback.Decision{Verdict: rollback.Act, Shed: true, Hold: true, Reason: reason, Command: rollback.ReadCommand("backout unhold shop/web")}
}

// Wait is a decision to shed and to decide again.
func Wait(v rollback.Verdict, reason string) rollback.Decision {
	return rollback.Decision{Verdict: v, Shed: true, Waits: true, Reason: reason}
}

// Ignore is a decision to do nothing.
func Ignore(v rollback.Verdict, reason string) rollback.Decision {
	return rollback.Decision{Verdict: v, Reason: reason}
}

// Step returns a step that was begun and done at these times after Opened.
func Step(from, to time.Duration) *rollback.Step {
	return &rollback.Step{Started: At(from), Done: At(to), Attempts: 1}
}

// FailingStep returns a step that has failed that often and is retried.
func FailingStep(attempts int, text string) *rollback.Step {
	return &rollback.Step{Started: At(50 * time.Millisecond), Attempts: attempts, Error: text}
}

// FailedStep returns a step that failed and is not retried.
func FailedStep(attempts int, text string) *rollback.Step {
	s := FailingStep(attempts, text)
	s.Failed = true
	return s
}

// Shed sets the canary's weight to zero.
func Shed(r *rollback.Record) {
	r.Shed = Step(30*time.Millisecond, 300*time.Millisecond)
	r.Weights = []rollback.Weight{{Kind: "Ingress", Name: "web-canary", From: "20", To: "0"}}
}

// ShedWithoutRoute is a shed that finds no canary's route.
func ShedWithoutRoute(r *rollback.Record) {
	r.Shed, r.Weights = Step(30*time.Millisecond, 300*time.Millisecond), nil
	r.Shed.Note = "the release has no canary route of a known kind"
}

// Held sheds, and holds the weight at zero.
func Held(r *rollback.Record) {
	Shed(r)
	r.Hold = &rollback.Hold{Since: At(400 * time.Millisecond)}
}

// RolledBack sheds, and rolls back to revision 5 as revision 8.
func RolledBack(r *rollback.Record) {
	Shed(r)
	r.Rollback, r.Target, r.Made = Step(400*time.Millisecond, 1600*time.Millisecond), 5, 8
}

// Restored rolls back, and restores the weight.
func Restored(r *rollback.Record) {
	RolledBack(r)
	r.Restore = Step(1700*time.Millisecond, 4*time.Second)
}

// Verified rolls back and restores, and closes the record with that outcome.
func Verified(o rollback.Outcome, note string) Change {
	return func(r *rollback.Record) {
		Restored(r)
		r.Verify, r.Outcome = Step(4*time.Second, 130*time.Second), o
		r.Verify.Note = note
		r.Closed = At(130 * time.Second)
	}
}

// Closed closes the record at that time after Opened.
func Closed(d time.Duration) Change {
	return func(r *rollback.Record) { r.Closed = At(d) }
}

// Decided adds a decision that was taken at that time after Opened.
func Decided(d rollback.Decision, at time.Duration) Change {
	return func(r *rollback.Record) {
		d.At = At(at)
		r.Decisions = append(r.Decisions, d)
	}
}

// Shift moves every time of the record, so that it was opened at that time.
func Shift(r rollback.Record, opened time.Time) rollback.Record {
	r = r.Clone()
	by := opened.Sub(r.Opened)
	move := func(at *time.Time) {
		if !at.IsZero() {
			*at = at.Add(by)
		}
	}
	move(&r.Opened)
	move(&r.Closed)
	for i := range r.Signals {
		move(&r.Signals[i].StartsAt)
		move(&r.Signals[i].Received)
		move(&r.Signals[i].Resolved)
	}
	for i := range r.Decisions {
		move(&r.Decisions[i].At)
	}
	for _, s := range []**rollback.Step{&r.Preflight, &r.Shed, &r.Rollback, &r.Restore, &r.Verify} {
		if *s != nil {
			moved := **s
			move(&moved.Started)
			move(&moved.Done)
			*s = &moved
		}
	}
	if r.Hold != nil {
		hold := *r.Hold
		move(&hold.Since)
		move(&hold.Ended)
		r.Hold = &hold
	}
	return r
}
