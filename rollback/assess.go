package rollback

import (
	"cmp"
	"fmt"
	"time"
)

// Assessment is what one signal amounts to by itself.
type Assessment struct {
	// Verdict is Act or Unknown if the signal is about the newest revision, so that
	// something may be done; otherwise it says why nothing is.
	Verdict Verdict

	level  Level
	reason string
	// versionNote says that the alert's version label identifies no revision, so that the
	// time at which the alert started decides; "" if it does. It begins with a semicolon.
	versionNote string
	// levelNote says that the alert fires in Prometheus with a weaker level than that of
	// the signal; "" if it does not. It begins with a semicolon.
	levelNote string
	// proof says how backout knows that an alert that had to wait fires now; "" if it did not
	// wait. It begins with a semicolon.
	proof string
	// recheckAt is when the assessment may change without a new alert; zero if it does not.
	recheckAt time.Time
	// waits says that it may change at any time; missedRepeat, that Alertmanager has not
	// repeated an alert on whose repetition it depends; poll, that it may change before
	// recheckAt, with the next evaluation of the alert's rule.
	waits, missedRepeat, poll bool
}

// strongest assesses every alert by itself and returns the assessment that allows most. If
// one that still waits requests more, backout decides again at its recheckAt. The orders of
// operators do not count: the command that gives one also carries it out.
func (c Case) strongest() Assessment {
	best := Assessment{Verdict: Stale, reason: "no alert is about this revision any longer"}
	var waiting Assessment
	found := false
	for i, s := range c.Signals {
		if s.Operator != "" {
			c.trace("order "+s.Alert, "ordered by %s", s.Operator)
			continue
		}
		a := c.Assess(s)
		if i < maxTracedSignals {
			c.traceSignal(s, a)
		}
		if !found || a.rank() > best.rank() {
			best, found = a, true
		}
		if a.Verdict != Act && !a.recheckAt.IsZero() && a.level.rank() > waiting.level.rank() {
			waiting = a
		}
	}
	if best.Verdict == Act && waiting.level.rank() > best.level.rank() {
		best.recheckAt = waiting.recheckAt
	}
	return best
}

// traceSignal adds the assessment of a signal to the trace.
func (c Case) traceSignal(s Signal, a Assessment) {
	if c.traceTo == nil {
		return
	}
	why := a.reason
	if why == "" {
		why = c.attribution(s)
	}
	if a.Verdict != Unknown && a.Verdict != Unconfirmed {
		why += "; " + s.EvaluatorSays()
	}
	c.trace("alert "+cmp.Or(s.Alert, s.Fingerprint), "level %s; %s: %s%s", s.Level, a.Verdict, why, a.versionNote)
}

// rank orders assessments: those that allow more come first.
func (a Assessment) rank() int {
	switch a.Verdict { //nolint:exhaustive // Assess returns no others.
	case Act:
		return 20 + a.level.rank()
	case Unknown:
		return 10 + a.level.rank()
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

// Assess says whether a signal is about the newest revision, and whether Prometheus
// confirms it. It does not consider holds, pauses, storms or the mode.
func (c Case) Assess(s Signal) Assessment {
	newest := c.History.Newest()
	if r, ok := c.HandledBy(s); ok {
		return Assessment{Verdict: Handled, reason: fmt.Sprintf("backout already acted on this alert at revision %d", r)}
	}
	if s.Revision != 0 && s.Revision != newest.Number {
		return Assessment{Verdict: Stale, reason: fmt.Sprintf("the alert is about revision %d; the release is at revision %d", s.Revision, newest.Number)}
	}
	if other, ok := c.revisionOf(s.Version); ok && !newest.HasVersion(s.Version) {
		return Assessment{Verdict: Stale, reason: fmt.Sprintf("version %s is that of revision %d; the release is at revision %d", s.Version, other, newest.Number)}
	}
	if s.Denied() {
		return Assessment{Verdict: Unconfirmed, reason: s.denial()}
	}
	a := Assessment{Verdict: Act, level: s.EffectiveLevel()}
	if s.Confirmation != nil && s.Confirmation.Level == a.level && s.Level != a.level {
		a.levelNote = fmt.Sprintf("; backout received it with the level %s, but it fires in %s with the level %s: the weaker one counts", s.Level, s.Evaluator(), a.level)
	}
	switch {
	case s.Version == "" || c.identifies(s.Version):
	case newest.HasVersion(s.Version):
		a.versionNote = fmt.Sprintf("; different content has version %s too, so the alert's start time decides", s.Version)
	default:
		a.versionNote = fmt.Sprintf("; no canary has version %s, so the alert's start time decides", s.Version)
	}
	switch {
	case !c.afterContent(s) && c.Now.Before(c.settledAt()):
		a = c.settle(s, a)
	case !c.ownWindow(s, c.Now):
		a = c.looksBackTo(s, a)
	case !s.Resolved.IsZero() && !c.actedOn(s):
		a.Verdict, a.reason = Stale, "the alert was resolved before backout acted on it"
	case a.level == LevelObserve:
		a.Verdict, a.reason = Observe, "the level of the alert is observe"
	case c.late(s) && !c.stormy(): // a storm goes on without asking
		a = c.assessLate(s, a)
	}
	if a.Verdict == Act && s.Answer() == AnswerUnknown && c.Present[s.Episode()].Answer != AnswerFiring {
		a.Verdict, a.reason = Unknown, s.Evaluator()+" could not confirm the alert: "+s.Confirmation.Error
		if limit := c.ConfirmDeadline(s); c.Now.Before(limit) {
			a.recheckAt = limit
		}
	}
	return a
}

// denial says why Prometheus does not confirm the alert.
func (s Signal) denial() string {
	if s.Answer() == AnswerUnproven {
		return s.Evaluator() + " does not confirm the alert: " + s.Confirmation.Error
	}
	return fmt.Sprintf("%s says that the alert did not fire at %s", s.Evaluator(), s.Received.Format(time.RFC3339))
}

// notes returns what the reason of a decision says besides.
func (a Assessment) notes() string { return a.proof + a.levelNote + a.versionNote }

// ConfirmDeadline is when backout stops querying Prometheus about the signal. The limit
// counts from when the answer first matters: the receipt of the alert, the end of the
// settling time, or, in a storm, now.
func (c Case) ConfirmDeadline(s Signal) time.Time {
	from := s.Received
	if !c.afterContent(s) {
		from = Later(from, c.settledAt())
	}
	from = Later(from, c.windowEnds(s))
	if c.stormy() {
		from = Later(from, c.Now)
	}
	return from.Add(c.Policy.ConfirmLimit)
}

// actedOn reports whether a resolved signal was still firing when backout started the
// first step for this revision. The shed itself quiets an alert, so the end of such an
// alert changes no decision.
func (c Case) actedOn(s Signal) bool {
	r := c.record()
	own := c.afterContent(s) && c.ownWindow(s, s.Resolved)
	return r.Claimed() && r.Holds(s) && own && !s.Resolved.Before(r.claimedAt())
}

// HandledBy returns the older revision whose record has a step for this very episode.
// Once the newest revision has settled, an episode that goes on is about it instead, and so it
// is where the newest revision has the content that backout backed out of on it.
func (c Case) HandledBy(s Signal) (int, bool) {
	if !c.Now.Before(c.History.Newest().Deployed.Add(c.Policy.Settle)) {
		return 0, false
	}
	for i := range c.Records {
		r := &c.Records[i]
		if _, back := c.returnedSince(r); back {
			continue
		}
		if r.Revision < c.History.Newest().Number && r.Claimed() && c.current(r) && r.Holds(s) {
			return r.Revision, true
		}
	}
	return 0, false
}
