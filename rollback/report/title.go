package report

import (
	"fmt"

	"github.com/upcommerce/backout/rollback"
)

// title is the headline of a message. It consists of names that Kubernetes allows and
// of numbers only.
func title(r *rollback.Record) string {
	revision := fmt.Sprintf("revision %d of %s", r.Revision, r.Key)
	back := fmt.Sprintf("%s rolled back from revision %d to %d", r.Key, r.Revision, r.Target)
	if notShed(r) {
		back = "the weight was not zero: " + back
	}
	switch StateOf(r) {
	case StateVerifying, StateUnverified:
		return back
	case StateRecovered:
		return back + ": recovered"
	case StateRestored:
		return back + ": restored, but unproven"
	case StateNotRecovered:
		return back + ": it has not recovered"
	case StateActing, StateStuck, StateWaiting, StateAwaitingRollback, StateHeld, StateFailed, StateHoldEnded, StateShedUndone,
		StateStorm, StateNeedsHelp, StatePaused, StateObserved, StateNoAction:
	}
	return revision + ": " + titleOfState(r)
}

// titleOfState is the title of a record whose release is not rolled back, without the
// name.
func titleOfState(r *rollback.Record) string {
	if text := manualTitle(r); text != "" && !r.SetAside() {
		return text
	}
	switch StateOf(r) {
	case StateActing:
		return "an alert fires; backout acts"
	case StateStuck:
		return stuckTitle(r)
	case StateWaiting:
		return "an alert fires; backout waits"
	case StateAwaitingRollback:
		return whereTheCanaryIs(r) + "; the rollback waits"
	case StateHeld:
		return "the canary is out of rotation and held at zero"
	case StateFailed:
		return "backout could not finish"
	case StateHoldEnded:
		return "the hold is over"
	case StateShedUndone:
		if r.Decision().Verdict == rollback.Observe {
			return "in " + r.Evaluator() + " the alert only observes; the canary has its weight back"
		}
		return r.Evaluator() + " denied the alert; the canary has its weight back"
	case StateStorm:
		return "an alert fires in a storm; backout touched nothing"
	case StateNeedsHelp:
		if r.HasLeftover() {
			return "the canary is at zero, and nothing is going to end that"
		}
		return "an alert fires; backout leaves it to you"
	case StatePaused:
		return "an alert fires; backout is paused"
	case StateObserved:
		return "an alert fires; backout only observes"
	case StateNoAction, StateVerifying, StateRecovered, StateRestored, StateNotRecovered, StateUnverified:
	}
	return "an alert fired; nothing to do"
}

func whereTheCanaryIs(r *rollback.Record) string {
	if atZero(r) {
		return "the canary is out of rotation"
	}
	return "there is no canary to take out of rotation"
}

// stuckTitle names the step that the record is stuck on.
func stuckTitle(r *rollback.Record) string {
	s, _ := stuckStep(r)
	switch {
	case s.name == stepNone:
		return "backout cannot go on; it keeps trying"
	case s.name == rollback.StepShed:
		return "the canary still gets traffic; backout cannot set its weight to zero"
	case s.name == rollback.StepRestore:
		return "rolled back, but the canary does not get its weight back; backout keeps trying"
	default:
		return fmt.Sprintf("the %s keeps failing; backout keeps trying", stepNoun(r, s.name))
	}
}
