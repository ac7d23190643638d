package report

import (
	"fmt"

	"github.com/upcommerce/backout/rollback"
)

// headline says what happened in one sentence. A shed that was given up comes before it.
func headline(r *rollback.Record) string {
	s, stuck := stuckStep(r)
	if !notShed(r) || stuck && s.name == rollback.StepShed {
		return headlineOfState(r)
	}
	return notShedText(r) + ". " + headlineOfState(r)
}

// notShed reports whether the shed was given up.
func notShed(r *rollback.Record) bool { return r.Shed != nil && r.Shed.Failed }

// notShedText says what the shed did not do, and why.
func notShedText(r *rollback.Record) string {
	if len(r.Weights) > 0 {
		return "Not every weight of the canary could be set to zero (" + rollback.FormatWeights(r.Weights) + ")" + colon(r.Shed.Error)
	}
	return "The canary's weight could not be set to zero" + colon(r.Shed.Error)
}

func headlineOfState(r *rollback.Record) string {
	if text := manualHeadline(r); text != "" && !r.SetAside() {
		return text
	}
	reason := r.Decision().Reason
	if r.HasLeftover() {
		return "The canary's weight is held at zero, and nothing is going to end that" + colon(r.Leftover.Error) + "."
	}
	switch StateOf(r) {
	case StateRecovered:
		return fmt.Sprintf("%s, and that helped%s.", rolledBack(r), verifyNote(r))
	case StateRestored:
		if r.HoldsTarget() {
			return rolledBack(r) + ". The alert is quiet."
		}
		return rolledBack(r) + ". The alert is quiet, but the canary gets too little traffic to prove that it helped."
	case StateNotRecovered:
		if podsLate(r) {
			return fmt.Sprintf("%s, but its pods are not ready, long after the rollback%s.", rolledBack(r), colon(r.Restore.Error))
		}
		return fmt.Sprintf("%s, and that did not help%s.", rolledBack(r), verifyNote(r))
	case StateUnverified:
		return rolledBack(r) + "; the release moved on before backout knew whether that helped."
	case StateFailed:
		return failedHeadline(r)
	case StateStuck:
		return stuckHeadline(r)
	case StateVerifying:
		return verifyingHeadline(r)
	case StateActing:
		return "backout is acting" + canaryTraffic(r) + colon(reason) + "."
	case StateWaiting, StateAwaitingRollback:
		return "Waiting" + canaryTraffic(r) + colon(reason) + "."
	case StateHeld:
		return heldHeadline(r)
	case StateHoldEnded:
		return "The canary was held at zero; that is over" + colon(r.Hold.Reason) + "."
	case StateShedUndone:
		return "The canary has its weight back" + colon(r.Hold.Reason) + "."
	case StateStorm, StateNeedsHelp, StatePaused, StateObserved, StateNoAction:
		if atZero(r) {
			return "backout took the canary out of rotation and does nothing more" + colon(reason) + "."
		}
		return "backout touched nothing" + colon(reason) + "."
	default:
		return Summary(r)
	}
}

// rolledBack begins a sentence about the rollback.
func rolledBack(r *rollback.Record) string {
	return fmt.Sprintf("Rolled back to revision %d", r.Target) + aboutTarget(r)
}

// aboutTarget says that the target of the rollback runs the same images, or that its canary
// stays at zero; "" if neither.
func aboutTarget(r *rollback.Record) string {
	if r.HoldsTarget() {
		return fmt.Sprintf(", with its canary held at zero, which runs the pods of revision %d", r.Revision)
	}
	for _, d := range r.Decisions {
		if d.SameImages && d.Target == r.Target && r.Target != 0 {
			return fmt.Sprintf(", which runs the same images as revision %d", r.Revision)
		}
	}
	return ""
}

func heldHeadline(r *rollback.Record) string {
	text := "Held at zero, not rolled back" + colon(holdDecision(r).Reason) + "."
	if h := r.Hold; h.Reopened > 0 {
		text += " " + reopenedText(h) + "."
	}
	return text
}

// reopenedText says who gave the canary a weight during a hold, and what backout did.
func reopenedText(h *rollback.Hold) string {
	switch {
	case h.Problem != "":
		return fmt.Sprintf("%s gave the canary a weight, and backout cannot set it to zero again: %s", h.ReopenedBy, h.Problem)
	case h.KeepsReopening():
		return fmt.Sprintf("%s gives the canary its weight back again and again, and backout sets it to zero up to every %s", h.ReopenedBy, rollback.MaxRetryWait)
	default:
		return fmt.Sprintf("%s gave the canary a weight, and backout set it to zero again", h.ReopenedBy)
	}
}

func failedHeadline(r *rollback.Record) string {
	if r.Rollback != nil && r.Rollback.Failed {
		return fmt.Sprintf("The rollback to revision %d failed, and backout does not retry it%s.", r.Target, colon(r.Rollback.Error))
	}
	return fmt.Sprintf("%s, but the canary did not get its weight back%s.", rolledBack(r), colon(r.Restore.Error))
}

func stuckHeadline(r *rollback.Record) string {
	s, _ := stuckStep(r)
	switch {
	case s.name == stepNone:
		return "backout cannot go on, and keeps trying" + canaryTraffic(r) + colon(s.Error) + "."
	case s.name == rollback.StepShed && s.Failed:
		return "The shed failed, and the canary gets traffic until the rollback is done" + colon(s.Error) + "."
	case s.name == rollback.StepShed:
		return "The shed keeps failing, and the canary still gets traffic" + colon(s.Error) + "."
	default:
		return fmt.Sprintf("The %s keeps failing%s%s.", stepNoun(r, s.name), canaryTraffic(r), colon(s.Error))
	}
}

// stepNoun names a step in a sentence.
func stepNoun(r *rollback.Record, step string) string {
	switch step {
	case stepPreflight:
		return "preflight of the rollback"
	case rollback.StepRollback:
		return fmt.Sprintf("rollback to revision %d", r.Target)
	case rollback.StepRestore:
		return "restore of the canary's weight"
	default:
		return step
	}
}

func verifyingHeadline(r *rollback.Record) string {
	if !r.Restore.Succeeded() {
		return fmt.Sprintf("%s. backout waits until its pods are ready%s.", rolledBack(r), colon(restoreError(r)))
	}
	return rolledBack(r) + ". backout is checking whether that helps."
}

// restoreError is why the weight is not restored yet; "" if backout does not know.
func restoreError(r *rollback.Record) string {
	if r.Restore == nil {
		return ""
	}
	return r.Restore.Error
}

// podsLate reports whether the outcome is that the pods did not become ready in time,
// so that there was nothing to verify.
func podsLate(r *rollback.Record) bool {
	return r.Outcome == rollback.OutcomeNotRecovered && !r.Verify.Succeeded() && r.Restore != nil
}

// verifyNote is the result of the verification.
func verifyNote(r *rollback.Record) string {
	if r.Verify == nil {
		return ""
	}
	return colon(r.Verify.Note)
}

// canaryTraffic says whether the canary gets traffic meanwhile, if the shed was begun.
func canaryTraffic(r *rollback.Record) string {
	switch {
	case atZero(r) && !r.Restore.Succeeded():
		return ", with the canary's weight at zero"
	case shedFails(r) && !r.Rollback.Succeeded():
		return ", and the canary still gets traffic"
	default:
		return ""
	}
}

// colon introduces a reason; without one it is "".
func colon(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}
