package report

import (
	"slices"

	"github.com/upcommerce/backout/rollback"
)

// State is the one word for how far a record has come. The verdict says why backout acts
// or does not.
type State string

// The states. The set is closed: States lists it.
const (
	// StateActing: backout is taking a step.
	StateActing State = "acting"
	// StateStuck: a step has failed Patience times and is retried, or the shed was
	// given up and the rollback is due.
	StateStuck State = "stuck"
	// StateWaiting: backout touched nothing and decides again without a new alert.
	StateWaiting State = "waiting"
	// StateAwaitingRollback: the shed is done, and the rollback waits.
	StateAwaitingRollback State = "awaiting-rollback"
	// StateVerifying: rolled back; whether that helped is not yet known.
	StateVerifying State = "verifying"
	// StateHeld: the canary's weight stays zero, and nothing is rolled back.
	StateHeld State = "held"
	// StateRecovered, StateRestored and StateNotRecovered are the outcomes.
	StateRecovered    State = "recovered"
	StateRestored     State = "restored"
	StateNotRecovered State = "not-recovered"
	// StateFailed: a step failed and is not retried.
	StateFailed State = "failed"
	// StateUnverified: rolled back, and the release moved on before the outcome was
	// known.
	StateUnverified State = "unverified"
	// StateHoldEnded: a hold that is over.
	StateHoldEnded State = "hold-ended"
	// StateShedUndone: Prometheus denied the alert or has it with the level observe, and the
	// canary has its weight back.
	StateShedUndone State = "shed-undone"
	// StateStorm: many releases have alerts at once, and nothing is touched.
	StateStorm State = "storm"
	// StateNeedsHelp: backout does nothing more, and an operator has to look.
	StateNeedsHelp State = "needs-help"
	// StatePaused: an operator paused backout.
	StatePaused State = "paused"
	// StateObserved: backout decided, recorded, and touched nothing.
	StateObserved State = "observed"
	// StateNoAction: nothing was done, and nothing is to be done.
	StateNoAction State = "no-action"
)

// States returns every state: those of work in progress first.
func States() []State {
	return []State{
		StateActing, StateStuck, StateWaiting, StateAwaitingRollback, StateVerifying, StateHeld, StateFailed,
		StateNeedsHelp, StateStorm, StatePaused, StateNotRecovered, StateRestored, StateRecovered, StateUnverified,
		StateHoldEnded, StateShedUndone, StateObserved, StateNoAction,
	}
}

// StateOf returns how far the record has come. A step says more than a decision.
func StateOf(r *rollback.Record) State {
	if s, ok := stateOfSteps(r); ok {
		return s
	}
	open := r.Closed.IsZero()
	switch d := r.Decision(); {
	case d.Verdict == rollback.Storming && !d.Shed:
		return StateStorm
	case d.Verdict == rollback.Paused:
		return StatePaused
	case d.Waits && d.Shed && !d.Rollback && r.Shed.Succeeded():
		return StateAwaitingRollback
	case leftToOperator(r, d):
		return StateNeedsHelp
	case open && (d.Shed || d.Rollback):
		return StateActing
	case d.Verdict == rollback.Observe:
		return StateObserved
	case open:
		return StateWaiting
	}
	return StateNoAction
}

// stateOfSteps returns the state that the steps and the hold show; false if they
// show none.
func stateOfSteps(r *rollback.Record) (State, bool) {
	open := r.Closed.IsZero()
	outcome, isOutcome := stateOfOutcome(r.Outcome)
	_, isStuck := stuckStep(r)
	manual, isManual := stateOfManual(r)
	switch {
	case r.SetAside(), r.HasLeftover(), !open && r.Decision().Verdict == rollback.NotAllowed && r.Decision().NeedsHelp:
		return StateNeedsHelp, true
	case isManual:
		return manual, true
	case failedStep(r) != nil:
		return StateFailed, true
	case isOutcome:
		return outcome, true
	case r.Rollback.Succeeded() && !open:
		return StateUnverified, true
	case isStuck:
		return StateStuck, true
	case r.Rollback.Succeeded():
		return StateVerifying, true
	case r.Rollback != nil:
		return StateActing, true
	case r.Hold.Active():
		return StateHeld, true
	case shedUndone(r):
		return StateShedUndone, true
	case r.Hold != nil && !open:
		return StateHoldEnded, true
	}
	return "", false
}

func stateOfOutcome(o rollback.Outcome) (State, bool) {
	switch o {
	case rollback.OutcomeRecovered:
		return StateRecovered, true
	case rollback.OutcomeRestored:
		return StateRestored, true
	case rollback.OutcomeNotRecovered:
		return StateNotRecovered, true
	}
	return "", false
}

// NeedsHelp reports whether an operator has to look at the record. There is no other
// answer: page, commands, metrics and every channel show this one.
func NeedsHelp(r *rollback.Record) bool {
	switch StateOf(r) {
	case StateFailed, StateStuck, StateNotRecovered, StateStorm, StateNeedsHelp, StatePaused:
		return true
	case StateHeld:
		return holdDecision(r).NeedsHelp || r.Hold.Reopened > 0
	case StateAwaitingRollback:
		return r.Decision().NeedsHelp
	case StateActing, StateWaiting, StateVerifying, StateRecovered, StateRestored, StateUnverified, StateHoldEnded,
		StateShedUndone, StateObserved, StateNoAction:
	}
	return false
}

// failedStep returns the step that failed for good, nil if none did. A shed that failed
// gives way to the rollback, and a preflight that failed to a hold.
func failedStep(r *rollback.Record) *rollback.Step {
	for _, s := range []*rollback.Step{r.Rollback, r.Restore} {
		if s != nil && s.Failed {
			return s
		}
	}
	return nil
}

// leftToOperator reports whether d asks for help and keeps no canary at zero meanwhile.
func leftToOperator(r *rollback.Record, d rollback.Decision) bool {
	return d.NeedsHelp && (!d.Hold || nothingToHold(r))
}

// nothingToHold reports whether the shed found no weight of a canary.
func nothingToHold(r *rollback.Record) bool {
	return r.ShedFoundNothing()
}

// holdDecision returns the decision for which the weight was held: the last one that
// asks for a hold.
func holdDecision(r *rollback.Record) rollback.Decision {
	for _, d := range slices.Backward(r.Decisions) {
		if d.Hold {
			return d
		}
	}
	return r.Decision()
}

// shedUndone reports whether the canary got its weight back because Prometheus denied
// the alert, or has it with the level observe.
func shedUndone(r *rollback.Record) bool {
	v := r.Decision().Verdict
	return r.ShedUndone() && (v == rollback.Unconfirmed || v == rollback.Observe)
}

// atZero reports whether the shed has set the canary's weight to zero.
func atZero(r *rollback.Record) bool { return r.Shed.Succeeded() && len(r.Weights) > 0 }
