package report

import (
	"fmt"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// Advice is what an operator is to do now.
type Advice struct {
	Text string `json:"text"`
	// Command is the first of Commands; none if there is nothing to run.
	Command rollback.Command `json:"command,omitzero"`
}

// advice says what an operator is to do. Its command is the first that every channel
// shows.
func advice(r *rollback.Record) Advice {
	a := Advice{Text: adviceText(r)}
	state := StateOf(r)
	if commands := Commands(r); len(commands) > 0 && (NeedsHelp(r) || state == StateHeld || state == StateRestored) {
		a.Command = commands[0].Line
	}
	return a
}

func adviceText(r *rollback.Record) string {
	d := r.Decision()
	if r.HasStrayRoutes() {
		return "Look at the weights of the route, set them if they are not right, and remove the mark: no release is left that would end it."
	}
	if r.HasLeftover() {
		return "Find out whether the canary should get traffic. No version of it gets any until an operator restores the weight."
	}
	if r.Manual.Active() && !r.Manual.Stalled.IsZero() {
		return "Look now: run the command again; it goes on where it stopped."
	}
	switch StateOf(r) {
	case StateFailed:
		if r.Rollback.Succeeded() {
			return "Look now, and check the canary's weight: backout did not restore it."
		}
		return "Look now, and finish manually" + consequence(r) + "."
	case StateStuck:
		return "Look now, and finish manually: backout keeps trying" + consequence(r) + "."
	case StateNotRecovered:
		if podsLate(r) {
			return "Look now: find out why the pods are not ready" + consequence(r) + "."
		}
		return "Look now: the alert is not over although the release is rolled back. The cause may be elsewhere."
	case StateHeld:
		return heldAdvice(r)
	case StateStorm:
		return "Look for the cause that these releases share. backout decides again by itself" + recheckText(d) + "."
	case StatePaused:
		return "Resume backout when you are done; it acts when the alert is repeated."
	case StateNeedsHelp:
		if d.Waits && r.Closed.IsZero() {
			return "Look now: backout does nothing until this changes."
		}
		return "Look now: backout leaves the rest to you."
	case StateWaiting, StateAwaitingRollback:
		if NeedsHelp(r) {
			return "Look now: backout does nothing until this changes."
		}
		return "Nothing now: backout decides again by itself" + recheckText(d) + "."
	case StateActing, StateVerifying:
		return "Nothing now: wait for the outcome."
	case StateRestored:
		return "Nothing urgent. Check whether the canary gets the traffic that it should."
	case StateRecovered, StateUnverified:
		return fmt.Sprintf("Nothing urgent. Fix revision %d before you deploy it again: backout will not roll back to it.", r.Revision)
	case StateHoldEnded, StateShedUndone, StateObserved, StateNoAction:
		return "Nothing."
	default:
		return "backout does not know this state."
	}
}

func heldAdvice(r *rollback.Record) string {
	if r.Hold.Reopened > 0 {
		return "Stop " + r.Hold.ReopenedBy + " for this release, or end the hold. Until then the canary gets traffic whenever it does."
	}
	if NeedsHelp(r) {
		return "Deploy a revision with different content, roll back manually, or end the hold. Until then the canary gets no traffic."
	}
	return "Nothing urgent. The canary gets no traffic until an operator ends the hold or deploys a revision with different content."
}

// consequence says where the canary's traffic goes until the record is finished.
func consequence(r *rollback.Record) string {
	switch {
	case atZero(r) && !r.Restore.Succeeded():
		return "; until then the canary gets no traffic"
	case shedFails(r):
		return "; until then the canary gets traffic"
	default:
		return ""
	}
}

// recheckText says when backout decides again at the latest.
func recheckText(d rollback.Decision) string {
	if d.RecheckAt.IsZero() {
		return ""
	}
	return ", at " + d.RecheckAt.UTC().Format(time.TimeOnly) + " UTC at the latest"
}
