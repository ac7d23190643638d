package notify

import "github.com/upcommerce/backout/rollback"

// meaning says in one or two sentences what a decision's verdict means.
func meaning(d rollback.Decision) string {
	switch d.Verdict {
	case rollback.Act:
		if d.Rollback {
			return "The alert is about this revision, and it is safe to go back."
		}
		return "The canary was to be taken out of the traffic, and no more."
	case rollback.Busy:
		return "A Helm operation on the release is in flight. The rollback waits until it ends; two at once would break the release."
	case rollback.Unknown:
		return "Prometheus cannot be asked whether the alert fires. Without an answer nothing is rolled back."
	case rollback.Cooldown:
		return "The release was rolled back a moment ago. A second rollback so soon is a person's to decide."
	case rollback.Baked:
		return "The revision ran well for so long that it is probably not to blame."
	case rollback.Own:
		return "The revision is one that backout made itself. Going further back is a person's to decide."
	case rollback.Managed:
		return "Another tool owns the release and would undo a rollback."
	case rollback.NoTarget:
		return "There is no older revision that was good and runs something else."
	case rollback.Unsafe:
		return "The rollback would do harm that nobody has allowed."
	case rollback.Storming:
		return "So many releases are accused at once that it is not their canaries. Look for what they share."
	case rollback.NoStable:
		return "Nothing else could carry the canary's traffic, so its weight is left as it is."
	case rollback.Settling:
		return "The alert began before this revision was deployed. It is looked at again once older requests have left the rules' windows."
	case rollback.Stale:
		return "The alert is about another revision, or it is over."
	case rollback.Unconfirmed:
		return "Prometheus says that the alert does not fire."
	case rollback.Handled:
		return "This was already acted upon, or a person has decided otherwise."
	case rollback.Paused:
		return "A person has switched backout off. Nothing is done until it is resumed and the alert comes again."
	case rollback.Observe:
		return "The alert, or backout's mode, says to look only. Nothing was touched."
	case rollback.NotAllowed:
		return "The release is not opted in. Nothing is done to it."
	case rollback.UnknownRelease:
		return "There is no such release."
	}
	return ""
}
