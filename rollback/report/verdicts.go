package report

import "github.com/upcommerce/backout/rollback"

// Meaning says in one or two sentences what a decision's verdict means; "" for a word
// that is not a verdict.
func Meaning(d rollback.Decision) string {
	switch d.Verdict {
	case rollback.Act:
		if d.Rollback {
			return "The alert is about this revision, and nothing forbids a rollback."
		}
		return "The signal asks to take the canary out of rotation, and no more."
	case rollback.Busy:
		return "A Helm operation on the release is in progress. The rollback waits until it ends: two at once would break the release."
	case rollback.Unknown:
		return "backout cannot query Prometheus about the alert. Without an answer it rolls nothing back."
	case rollback.Cooldown:
		return "The release was rolled back recently. An operator has to decide about a second rollback so soon."
	case rollback.Baked:
		return "The revision has run well for so long that it is probably not the cause."
	case rollback.Own:
		return "The revision is one that backout made. An operator has to decide about a rollback to an older one."
	case rollback.Managed:
		return "Another tool owns the release and would undo a rollback."
	case rollback.NoTarget:
		return "There is no older revision that is good and has different content."
	case rollback.Unsafe:
		return "The rollback would do harm that no operator has allowed."
	case rollback.Storming:
		return "Alerts fire for so many releases at once that their canaries are not the cause. Look for the cause that they share. Once no new one has joined for a while, backout sheds those that still fire, and rolls back one after the other."
	case rollback.NoStable:
		return "No other backend could carry the canary's traffic, so backout leaves its weight as it is."
	case rollback.Settling:
		return "The alert may be about an earlier revision: it began before this one was deployed, or its rule still looks back to older requests. backout decides again once these have left its window."
	case rollback.Stale:
		return "The alert is about another revision, or it is over."
	case rollback.Unconfirmed:
		return "Prometheus does not confirm the alert."
	case rollback.Handled:
		return "backout has acted on this alert already, or an operator has decided otherwise."
	case rollback.Paused:
		return "An operator paused backout. It does nothing until it is resumed and the alert is repeated."
	case rollback.Observe:
		return "The alert, or backout's mode, says to observe only. backout touched nothing."
	case rollback.NotAllowed:
		return "The release is not opted in. backout does nothing to it."
	case rollback.UnknownRelease:
		return "There is no such release."
	}
	return ""
}
