package rollback

// Verdict is the one word for why backout does, or does not do, something about
// an accusation. It is stored in the record and is the label of
// backout_alerts_total.
type Verdict string

// The verdicts that Decide and Engine.Accept can reach. The set is closed:
// Verdicts lists it, and Effect says what each one allows.
const (
	// Act does as accused; the steps run to their end.
	Act Verdict = "act"
	// Busy waits with the rollback until the Helm operation in flight has ended.
	Busy Verdict = "busy"
	// Cooldown holds: the release was rolled back too recently.
	Cooldown Verdict = "cooldown"
	// Baked holds: the accused revision is older than the bake window.
	Baked Verdict = "baked"
	// Own holds: the accused revision is one that backout made.
	Own Verdict = "own"
	// NoTarget holds: there is nothing good to go back to.
	NoTarget Verdict = "no-target"
	// Settling waits: the revision is too young to have caused the alert.
	Settling Verdict = "settling"
	// Stale does nothing: the alert is about another revision.
	Stale Verdict = "stale"
	// Handled does nothing: this very alert was already acted upon.
	Handled Verdict = "handled"
	// Observe does nothing: the alert or the mode says to look only.
	Observe Verdict = "observe"
	// NotAllowed does nothing and records nothing: not opted in, another
	// cluster, or labels that cannot name a release.
	NotAllowed Verdict = "not-allowed"
	// UnknownRelease does nothing and records nothing: there is no such
	// release, or its namespace is going away.
	UnknownRelease Verdict = "unknown-release"
)

// Verdicts returns every verdict, in the order of the design's table.
func Verdicts() []Verdict {
	return []Verdict{
		Act, Busy, Cooldown, Baked, Own, NoTarget, Settling,
		Stale, Handled, Observe, NotAllowed, UnknownRelease,
	}
}

// Effect is what a verdict allows.
type Effect struct {
	// Shed allows the canary's weight to be set to zero.
	Shed bool
	// Rollback allows a Helm rollback, if the alert asks for one.
	Rollback bool
	// Waits means that the decision is taken again later, without a new alert.
	Waits bool
	// Hold means that zero stays and that a person has to look.
	Hold bool
}

// Effect returns what v allows. An unknown verdict allows nothing.
func (v Verdict) Effect() Effect {
	switch v {
	case Act:
		return Effect{Shed: true, Rollback: true}
	case Busy:
		return Effect{Shed: true, Waits: true}
	case Cooldown, Baked, Own, NoTarget:
		return Effect{Shed: true, Hold: true}
	case Settling:
		return Effect{Waits: true}
	case Stale, Handled, Observe, NotAllowed, UnknownRelease:
		return Effect{}
	default:
		return Effect{}
	}
}
