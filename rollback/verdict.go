package rollback

// Verdict is the one word for why backout does or does not do something about a signal.
// The record stores it, and it is the label verdict of backout_alerts_total.
type Verdict string

// The verdicts. The set is closed: Verdicts lists it, and Effect returns what each one
// allows.
const (
	// Act does what the signals request; the steps run to their end.
	Act Verdict = "act"
	// Busy makes the rollback wait for the end of the Helm operation in progress.
	Busy Verdict = "busy"
	// Unknown makes the rollback wait until Prometheus answers about the alert, and holds
	// if that takes too long.
	Unknown Verdict = "unknown"
	// Cooldown holds: the release was rolled back too recently.
	Cooldown Verdict = "cooldown"
	// Baked holds: the revision is older than the bake window.
	Baked Verdict = "baked"
	// Own holds: backout itself made the revision, by a rollback.
	Own Verdict = "own"
	// Managed holds: another tool owns the release and would undo a rollback.
	Managed Verdict = "managed"
	// NoTarget holds: there is no good revision to go back to.
	NoTarget Verdict = "no-target"
	// Unsafe holds: the rollback would do harm that the policy does not allow.
	Unsafe Verdict = "unsafe"
	// Storming waits: so many releases have signals at once that the canaries are not the
	// cause. Once the storm is over, it sheds, and the rollback waits for its turn.
	Storming Verdict = "storm"
	// NoStable leaves the weight alone, because the stable pods could not serve the
	// canary's traffic. The rollback goes on.
	NoStable Verdict = "no-stable"
	// Settling waits: the revision is too young to have caused the alert.
	Settling Verdict = "settling"
	// Stale does nothing: the alert is about another revision.
	Stale Verdict = "stale"
	// Unconfirmed does nothing: Prometheus says that the alert does not fire, or that no
	// rule of backout's is its source.
	Unconfirmed Verdict = "unconfirmed"
	// Handled does nothing: backout already acted on this very alert, or an operator
	// lifted the hold of the revision.
	Handled Verdict = "handled"
	// Paused does nothing: an operator paused backout.
	Paused Verdict = "paused"
	// Observe does nothing: the level of the alert or the mode is observe.
	Observe Verdict = "observe"
	// NotAllowed does nothing and records nothing: the release is not opted in, the alert
	// comes from another cluster, or its labels cannot name a release.
	NotAllowed Verdict = "not-allowed"
	// UnknownRelease does nothing and records nothing: there is no such release, or its
	// namespace is being deleted.
	UnknownRelease Verdict = "unknown-release"
)

// Verdicts returns every verdict.
func Verdicts() []Verdict {
	return []Verdict{
		Act, Busy, Unknown, Cooldown, Baked, Own, Managed, NoTarget, Unsafe, Settling, Storming, NoStable,
		Stale, Unconfirmed, Handled, Paused, Observe, NotAllowed, UnknownRelease,
	}
}

// Suspects reports whether the verdict says that the revision may be the cause of the
// alert.
func (v Verdict) Suspects() bool {
	switch v {
	case Stale, Unconfirmed, Handled, Paused, Observe, NotAllowed, UnknownRelease:
		return false
	case Act, Busy, Unknown, Cooldown, Baked, Own, Managed, NoTarget, Unsafe, Settling, Storming, NoStable:
		return true
	default:
		return false
	}
}

// Effect is what a verdict allows at most. A decision may do less: an alert that requests
// a shed causes no rollback.
type Effect struct {
	// Shed allows the canary's weight to be set to zero.
	Shed bool
	// Rollback allows a Helm rollback, if the alert requests one.
	Rollback bool
	// Waits allows backout to decide again later, without a new alert.
	Waits bool
}

// Effect returns what v allows. A word that is not a verdict allows nothing.
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
	case Storming:
		return Effect{Shed: true, Waits: true}
	case Settling:
		return Effect{Waits: true}
	case Stale, Unconfirmed, Handled, Paused, Observe, NotAllowed, UnknownRelease:
		return Effect{}
	default:
		return Effect{}
	}
}
