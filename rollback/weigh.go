package rollback

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// finding is what one accusation amounts to by itself.
type finding struct {
	verdict Verdict
	level   Level
	reason  string
	// note tells of a label that did not fit and did not decide.
	note string
	// by is the person who gave the order; "" for an alert.
	by string
	// again is when the finding may be another one without a new alert.
	again time.Time
}

// strongest weighs every accusation by itself and returns the one that allows
// most. If one that still waits asks for more, the decision is taken again then.
func (c Case) strongest() finding {
	best := finding{verdict: Stale, reason: "nothing accuses this revision any more"}
	var waiting finding
	for i, a := range c.Accusations {
		f := c.weigh(a)
		if i < maxHeard {
			c.heard(a, f)
		}
		if i == 0 || f.rank() > best.rank() {
			best = f
		}
		if f.verdict != Act && !f.again.IsZero() && f.level.rank() > waiting.level.rank() {
			waiting = f
		}
	}
	if best.verdict == Act && waiting.level.rank() > best.level.rank() {
		best.again = waiting.again
	}
	return best
}

// heard notes what an accusation amounts to.
func (c Case) heard(a Accusation, f finding) {
	if c.grounds == nil {
		return
	}
	why := f.reason
	if why == "" {
		why = c.blames(a)
	}
	if f.verdict != Unknown && f.verdict != Unconfirmed && a.By == "" {
		why += "; " + a.told()
	}
	c.found("alert "+cmp.Or(a.Alert, a.Fingerprint), "asks for %s; %s: %s%s", a.Level, f.verdict, why, f.note)
}

// rank orders findings: what leads to more being done comes first.
func (f finding) rank() int {
	switch f.verdict { //nolint:exhaustive // weigh finds no others.
	case Act:
		return 20 + f.level.rank()
	case Unknown:
		return 10 + f.level.rank()
	case Settling:
		return 5
	case Observe:
		return 4
	case Handled:
		return 3
	case Unconfirmed:
		return 2
	default:
		return 0
	}
}

// weigh decides whether one accusation is about the accused revision at all.
func (c Case) weigh(a Accusation) finding {
	accused := c.History.Accused()
	if r, ok := c.handledBy(a); ok {
		return finding{verdict: Handled, reason: fmt.Sprintf("this alert was already acted upon at revision %d", r)}
	}
	if a.Revision != 0 && a.Revision != accused.Number {
		return finding{verdict: Stale, reason: fmt.Sprintf("the alert is about revision %d, the release is at %d", a.Revision, accused.Number)}
	}
	if other, ok := c.owner(a.Version); ok && !accused.Is(a.Version) {
		return finding{verdict: Stale, reason: fmt.Sprintf("version %s belongs to revision %d, the release is at %d", a.Version, other, accused.Number)}
	}
	if a.answer() == AnswerQuiet {
		return finding{verdict: Unconfirmed, reason: fmt.Sprintf("Prometheus says that the alert did not fire at %s", a.Received.Format(time.RFC3339))}
	}
	f := finding{verdict: Act, level: a.Level, by: a.By}
	switch {
	case a.Version == "" || c.names(a.Version):
	case accused.Is(a.Version):
		f.note = fmt.Sprintf("; revisions with other content are known as version %s too, so time decides", a.Version)
	default:
		f.note = fmt.Sprintf("; no revision's canary is known as version %s, so time decides", a.Version)
	}
	switch {
	case !c.began(a) && c.Now.Before(c.settled()):
		f.verdict, f.again = Settling, c.settled()
		f.reason = fmt.Sprintf("the alert began before revision %d was deployed", accused.Number)
	case !a.Resolved.IsZero() && !c.actedOn(a):
		f.verdict, f.reason = Stale, "the alert was resolved before it could be acted upon"
	case a.Level == LevelObserve:
		f.verdict, f.reason = Observe, "the alert asks to observe only"
	case a.answer() == AnswerUnknown:
		f.verdict, f.reason = Unknown, "Prometheus could not be asked about the alert: "+a.Confirmation.Error
		if limit := c.confirmLimit(a); c.Now.Before(limit) {
			f.again = limit
		}
	}
	return f
}

// confirmLimit is until when Prometheus is asked about a: it counts from when the
// answer began to matter.
func (c Case) confirmLimit(a Accusation) time.Time {
	from := a.Received
	if !c.began(a) {
		from = later(from, c.settled())
	}
	if c.stormy() {
		from = later(from, c.Now)
	}
	return from.Add(c.Policy.ConfirmLimit)
}

// answer returns what Prometheus said about a; "" if it was not asked.
func (a Accusation) answer() Answer {
	if a.Confirmation == nil {
		return ""
	}
	return a.Confirmation.Answer
}

// since returns when what a tells of began, by the best source there is: its
// condition may have been true before the alert's `for` was over.
func (a Accusation) since() time.Time {
	if a.Confirmation != nil && !a.Confirmation.ActiveSince.IsZero() {
		return a.Confirmation.ActiveSince
	}
	return a.StartsAt
}

// actedOn reports whether a, resolved by now, was firing against this revision
// when the first step was started: the shed itself quiets an alert, so its
// resolve calls nothing back.
func (c Case) actedOn(a Accusation) bool {
	own := c.own()
	return own.Claimed() && own.Holds(a.Episode()) && c.began(a) && !a.Resolved.Before(own.claimedAt())
}

// began reports whether the accused revision can have caused a: it is named by
// the alert, or what it runs was there when the alert began.
func (c Case) began(a Accusation) bool {
	return a.Revision == c.History.Accused().Number || c.names(a.Version) || !a.since().Before(c.appeared())
}

// names reports whether version tells the accused revision's canary from every
// older one with other content. A label that both have, such as an appVersion that
// nobody raised, tells nothing.
func (c Case) names(version string) bool {
	accused := c.History.Accused()
	return accused.Is(version) && !slices.ContainsFunc(c.History.Older(), func(r Revision) bool {
		return r.Is(version) && r.Content != accused.Content
	})
}

// owner returns the newest older revision whose canary is known by version.
func (c Case) owner(version string) (int, bool) {
	for _, r := range c.History.Older() {
		if r.Is(version) {
			return r.Number, true
		}
	}
	return 0, false
}

// appeared is when the accused revision's content came: with the first revision of
// a ramp.
func (c Case) appeared() time.Time {
	accused := c.History.Accused()
	first := accused.Deployed
	for _, r := range c.History.Older() {
		if accused.Content == "" || r.Content != accused.Content || !r.good() {
			break
		}
		first = r.Deployed
	}
	return first
}

// settled is when the accused content has been there for long enough for what
// came before it to have left the rules' windows.
func (c Case) settled() time.Time { return c.appeared().Add(c.Policy.Settle) }

// handledBy returns the older revision in whose record this very episode led to
// a step. Once the accused revision has settled, an episode that still goes on
// is no longer the older one's.
func (c Case) handledBy(a Accusation) (int, bool) {
	if !c.Now.Before(c.History.Accused().Deployed.Add(c.Policy.Settle)) {
		return 0, false
	}
	for i := range c.Records {
		r := &c.Records[i]
		if r.Revision < c.History.Accused().Number && r.Claimed() && c.alive(r) && r.Holds(a.Episode()) {
			return r.Revision, true
		}
	}
	return 0, false
}
