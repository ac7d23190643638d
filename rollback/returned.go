package rollback

import (
	"fmt"
	"slices"
	"time"
)

// returnedFrom returns the older revision of whose content, now that of the newest revision
// again, backout backed out on this firing, or so recently that the window of the alert may
// still contain what that revision's pods did; false if it did not. Until the newest revision
// has settled, such an alert is about it only if it fires on what the pods of that one did,
// whatever its version label says.
func (c Case) returnedFrom(s Signal) (int, bool) {
	window := c.Policy.Window(s.Alert)
	if s.Operator != "" || s.Revision != 0 || !c.Now.Before(c.ContentSince().Add(window)) {
		return 0, false
	}
	for i := range c.Records {
		r := &c.Records[i]
		left, returned := c.returnedSince(r)
		if returned && (r.Holds(s) || s.ActiveSince().Before(left.Add(window))) {
			return r.Revision, true
		}
	}
	return 0, false
}

// returnedSince reports whether the record makes the content of the newest revision known bad,
// and other content was deployed in between: one that backout has not signed would only delay
// what backout does. It returns when the pods of the record's revision
// were replaced, as far as the history and the record say.
func (c Case) returnedSince(r *Record) (left time.Time, returned bool) {
	content := c.History.Newest().Content
	if content == "" || r.Unsigned || !r.blames() || !c.current(r) || r.ContentIn(c.History) != content || c.servedWell(content, r.blamedAt()) {
		return time.Time{}, false
	}
	for _, other := range c.History.Older() {
		if other.Number > r.Revision && other.good() && other.Content != "" && other.Content != content {
			left, returned = other.Deployed, true // the first of them counts: the history goes down
		}
	}
	if r.Restore.Succeeded() {
		left = Later(left, r.Restore.Done)
	}
	return left, returned
}

// ownEvidence reports whether Prometheus says that the signal fires on what the pods of the
// newest content did, and nothing before they began to serve. Once a step was started, the
// answer on which that was done counts.
func (c Case) ownEvidence(s Signal) bool {
	if r := c.record(); r.Claimed() && r.Holds(s) {
		return s.Confirmation != nil && !s.Confirmation.EvidenceFrom.IsZero() && !s.Confirmation.EvidenceFrom.Before(c.ContentSince())
	}
	now := c.Present[s.Episode()]
	return now.Answer == AnswerFiring && !now.EvidenceFrom.IsZero() && !c.Serving.IsZero() && !now.EvidenceFrom.Before(c.Serving)
}

// AwaitsEvidence reports whether a signal of the case counts only once it fires on what the
// newest content's own pods did.
func (c Case) AwaitsEvidence() bool {
	return !c.record().Claimed() && slices.ContainsFunc(c.Signals, func(s Signal) bool {
		if s.Operator != "" || s.Level == LevelObserve || s.Denied() || !s.Resolved.IsZero() {
			return false
		}
		_, returned := c.returnedFrom(s)
		return returned || !c.ownWindow(s, c.Now)
	})
}

// settle changes the assessment of a signal that may be about what was before the newest
// content: it waits.
func (c Case) settle(s Signal, a Assessment) Assessment {
	from, returned := c.returnedFrom(s)
	now := c.Present[s.Episode()]
	newest := c.History.Newest().Number
	a.Verdict, a.recheckAt = Settling, c.settledAt()
	switch {
	case !returned:
		a.reason = fmt.Sprintf("the alert %s before revision %d was deployed", c.mayHaveStarted(), newest)
	case !s.Resolved.IsZero():
		a.Verdict, a.recheckAt, a.reason = Stale, time.Time{}, "the alert was resolved before backout acted on it"
	case now.Answer == AnswerQuiet, now.Answer == AnswerUnproven:
		a.Verdict, a.recheckAt = Stale, time.Time{}
		a.reason = fmt.Sprintf("backout backed out of the same content at revision %d, and %s says that the alert does not fire any longer", from, s.Evaluator())
	case now.Answer == AnswerFiring && now.Level == LevelObserve:
		a.Verdict, a.level, a.recheckAt, a.reason = Observe, LevelObserve, time.Time{}, fmt.Sprintf("the level of the alert in %s is observe now", s.Evaluator())
	default:
		a.recheckAt = c.ContentSince().Add(c.Policy.Window(s.Alert))
		a.poll = c.asksAbout(s) && a.level != LevelObserve
		a.reason = fmt.Sprintf("backout backed out of the same content at revision %d; the alert counts once it fires on what the pods of revision %d did alone", from, newest)
	}
	return a
}

// UnheardSignals returns the signals of older records that may fire for the newest revision
// although Alertmanager sends nothing new: the content that backout backed out of is back, and
// they never ended. backout has to ask Prometheus about them. It returns none for a revision
// that is older than the bake window, or about which a step was started.
func (c Case) UnheardSignals() []Signal {
	own := c.record()
	if own.Claimed() || own.Hold != nil || c.Now.Sub(c.History.Newest().Deployed) > c.Policy.Bake {
		return nil
	}
	seen := make(map[Episode]bool)
	var unheard []Signal
	for i := range c.Records {
		r := &c.Records[i]
		if _, returned := c.returnedSince(r); !returned {
			continue
		}
		for _, s := range r.Signals {
			if s.mayStillFire() && !own.Holds(s) && !seen[s.Episode()] {
				seen[s.Episode()] = true
				unheard = append(unheard, s)
			}
		}
	}
	return unheard
}

// mayStillFire reports whether the alert has not ended, as far as Alertmanager and Prometheus
// said, and may be about another revision than the one for which it was received.
func (s Signal) mayStillFire() bool {
	return s.CountsForRecovery() && s.Resolved.IsZero() && !s.Denied() && s.Revision == 0
}

// MayReturn reports whether the content of the record is known bad, and an alert about it has
// not ended: if the content comes back, Alertmanager may send nothing new.
func (r *Record) MayReturn() bool {
	return r.Content != "" && r.blames() && slices.ContainsFunc(r.Signals, Signal.mayStillFire)
}

// FiresAgain returns the signal as of now, at which Prometheus gave that answer about it.
func (s Signal) FiresAgain(answer Confirmation, now time.Time) Signal {
	s.Received, s.LastSeen, s.Resolved, s.Confirmation = now, now, time.Time{}, &answer
	return s
}
