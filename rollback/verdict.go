package rollback

// Verdict is the one word for why backout does, or does not do, something about
// an accusation. It is stored in the record and is the label of
// backout_alerts_total.
type Verdict string

// The verdicts. The set is closed: Verdicts lists it, and Effect says what each
// one allows.
const (
	// Act does as accused; the steps run to their end.
	Act Verdict = "act"
	// Busy waits with the rollback until the Helm operation in flight has ended.
	Busy Verdict = "busy"
	// Unknown waits with the rollback until Prometheus can be asked about the
	// alert, and holds if that takes too long.
	Unknown Verdict = "unknown"
	// Cooldown holds: the release was rolled back too recently.
	Cooldown Verdict = "cooldown"
	// Baked holds: the accused revision is older than the bake window.
	Baked Verdict = "baked"
	// Own holds: the accused revision is one that backout made.
	Own Verdict = "own"
	// Managed holds: another tool owns the release and would undo a rollback.
	Managed Verdict = "managed"
	// NoTarget holds: there is nothing good to go back to.
	NoTarget Verdict = "no-target"
	// Unsafe holds: the rollback would do harm, and nobody allowed it to.
	Unsafe Verdict = "unsafe"
	// Storming waits: so many releases are accused at once that it is not the
	// canaries.
	Storming Verdict = "storm"
	// NoStable leaves the weight alone, because nothing else could carry the
	// canary's traffic. The rollback goes on.
	NoStable Verdict = "no-stable"
	// Settling waits: the revision is too young to have caused the alert.
	Settling Verdict = "settling"
	// Stale does nothing: the alert is about another revision.
	Stale Verdict = "stale"
	// Unconfirmed does nothing: Prometheus says that the alert does not fire.
	Unconfirmed Verdict = "unconfirmed"
	// Handled does nothing: this very alert was already acted upon.
	Handled Verdict = "handled"
	// Paused does nothing: a person switched backout off.
	Paused Verdict = "paused"
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
		Act, Busy, Unknown, Cooldown, Baked, Own, Managed, NoTarget, Unsafe, Settling, Storming, NoStable,
		Stale, Unconfirmed, Handled, Paused, Observe, NotAllowed, UnknownRelease,
	}
}

// accuses reports whether the verdict says that the revision may be to blame.
func (v Verdict) accuses() bool {
	switch v {
	case Stale, Unconfirmed, Handled, Paused, Observe, NotAllowed, UnknownRelease:
		return false
	case Act, Busy, Unknown, Cooldown, Baked, Own, Managed, NoTarget, Unsafe, Settling, Storming, NoStable:
		return true
	default:
		return false
	}
}

// Effect is what a verdict allows at most. A decision may do less: an alert that
// asks for a shed gets no rollback.
type Effect struct {
	// Shed allows the canary's weight to be set to zero.
	Shed bool
	// Rollback allows a Helm rollback, if the alert asks for one.
	Rollback bool
	// Waits allows the decision to be taken again later, without a new alert.
	Waits bool
}

// Effect returns what v allows. A word that is no verdict allows nothing.
func (v Verdict) Effect() Effect {
	switch v {
	case Act:
		return Effect{Shed: true, Rollback: true, Waits: true}
	case Busy, Unknown:
		return Effect{Shed: true, Waits: true}
	case Cooldown, Baked, Own, Managed, NoTarget, Unsafe:
		return Effect{Shed: true}
	case NoStable:
		return Effect{Rollback: true, Waits: true}
	case Settling, Storming:
		return Effect{Waits: true}
	case Stale, Unconfirmed, Handled, Paused, Observe, NotAllowed, UnknownRelease:
		return Effect{}
	default:
		return Effect{}
	}
}
