package notify

import (
	"fmt"

	"github.com/upcommerce/backout/rollback"
)

// State is where the matter stands.
type State string

// The states. The set is closed: States lists it.
const (
	// Quiet: nobody needs to hear of it.
	Quiet State = "quiet"
	// Acting: steps are being taken.
	Acting State = "acting"
	// AwaitingRollback: out of the traffic; the rollback waits.
	AwaitingRollback State = "awaiting-rollback"
	// OnHold: out of the traffic, and there it stays.
	OnHold State = "held"
	// BackAgain: rolled back, not judged.
	BackAgain State = "rolled-back"
	// HasRecovered, IsRestored and HasNotRecovered are the outcomes.
	HasRecovered    State = "recovered"
	IsRestored      State = "restored"
	HasNotRecovered State = "not-recovered"
	// Broken: a step failed.
	Broken State = "failed"
	// HoldOver: the hold has ended.
	HoldOver State = "released"
	// GivenBack: Prometheus denied the alert, and the weight was given back.
	GivenBack State = "returned"
	// InStorm: many releases at once, nothing touched.
	InStorm State = "storm"
	// LeftAlone: nothing was done, and a person has to look.
	LeftAlone State = "needs-help"
	// SwitchedOff: a person has paused backout.
	SwitchedOff State = "paused"
	// LookedAt: only observed.
	LookedAt State = "observed"
)

// States returns every state.
func States() []State {
	return []State{
		Quiet, Acting, AwaitingRollback, OnHold, BackAgain, HasRecovered, IsRestored, HasNotRecovered, Broken,
		HoldOver, GivenBack, InStorm, LeftAlone, SwitchedOff, LookedAt,
	}
}

// standing returns where the record stands. What was done says more than what was
// decided.
func standing(r *rollback.Record) State {
	if s, ok := stood(r); ok {
		return s
	}
	switch d := r.Decision(); {
	case d.Verdict == rollback.Storming:
		return InStorm
	case d.Verdict == rollback.Paused:
		return SwitchedOff
	case d.Waits && d.Shed && !d.Rollback && r.Shed.Succeeded():
		return AwaitingRollback
	case d.People && (!d.Hold || nothingToHold(r)):
		return LeftAlone
	case r.Shed != nil || d.Rollback:
		return Acting
	case d.Verdict == rollback.Observe:
		return LookedAt
	}
	return Quiet
}

// stood returns the state that the steps and the hold say.
func stood(r *rollback.Record) (State, bool) {
	switch {
	case r.Outcome != "":
		return State(r.Outcome), true
	case r.Rollback.Succeeded() && !r.Raise.Finished(), r.Rollback.Succeeded() && r.Raise.Succeeded():
		return BackAgain, true
	case r.Rollback.Finished(), r.Raise.Finished():
		return Broken, true
	case r.Rollback != nil:
		return Acting, true
	case r.Hold.Lasts():
		return OnHold, true
	case denied(r):
		return GivenBack, true
	case r.Hold != nil && !r.Closed.IsZero():
		return HoldOver, true
	case r.Shed != nil && !r.Shed.Succeeded() && r.Shed.Attempts >= patience:
		return Broken, true
	}
	return "", false
}

// title is the headline. It is made of names that Kubernetes allows and of numbers
// only.
func title(r *rollback.Record, s State) string {
	revision := fmt.Sprintf("revision %d of %s", r.Revision, r.Key)
	back := fmt.Sprintf("%s rolled back from revision %d to %d", r.Key, r.Revision, r.Target)
	switch s {
	case Acting:
		return fmt.Sprintf("%s is accused; backout acts", revision)
	case AwaitingRollback:
		return fmt.Sprintf("%s: the canary is out of the traffic; the rollback waits", revision)
	case OnHold:
		return fmt.Sprintf("%s: the canary is out of the traffic and held at zero", revision)
	case BackAgain:
		return back
	case HasRecovered:
		return back + ": recovered"
	case IsRestored:
		return back + ": restored, but unproven"
	case HasNotRecovered:
		return back + ": it has not recovered"
	case Broken:
		return fmt.Sprintf("%s: backout could not finish", revision)
	case HoldOver:
		return fmt.Sprintf("%s: the hold is over", revision)
	case GivenBack:
		return fmt.Sprintf("%s: the alert was denied; the canary has its weight back", revision)
	case InStorm:
		return fmt.Sprintf("%s is accused in a storm; nothing was touched", revision)
	case LeftAlone:
		return fmt.Sprintf("%s is accused; backout leaves it to you", revision)
	case SwitchedOff:
		return fmt.Sprintf("%s is accused; backout is paused", revision)
	case LookedAt:
		return fmt.Sprintf("%s is accused; backout only observes", revision)
	case Quiet:
	}
	return fmt.Sprintf("%s was accused; nothing to do", revision)
}

// help reports whether a person has to look now.
func help(r *rollback.Record, s State) bool {
	switch s {
	case HasNotRecovered, Broken, InStorm, LeftAlone, SwitchedOff:
		return true
	case OnHold:
		return holding(r).People
	case AwaitingRollback:
		return r.Decision().People
	case Quiet, Acting, BackAgain, HasRecovered, IsRestored, HoldOver, GivenBack, LookedAt:
	}
	return false
}
