package rollback

import (
	"fmt"
	"slices"
	"time"
)

// late reports whether the signal has waited without a shed, for the revision to settle, in a
// storm or in a pause: what was right when backout received it may be over.
func (c Case) late(s Signal) bool {
	r := c.record()
	if r.Claimed() {
		return false
	}
	for i, d := range r.Decisions {
		end := c.Now // a decision is in force until the next one
		if i+1 < len(r.Decisions) {
			end = r.Decisions[i+1].At
		}
		if d.waitedWithoutShed() && (!s.Received.After(d.At) || s.Received.Before(end)) {
			return true
		}
	}
	return false
}

func (d Decision) waitedWithoutShed() bool {
	return !d.Shed && d.Operator == "" && (d.Verdict == Settling || d.Verdict == Storming || d.Verdict == Paused)
}

// LateSignals returns the signals that have waited without a shed, about which Prometheus has
// to be asked again before backout acts on them.
func (c Case) LateSignals() []Signal {
	return slices.DeleteFunc(slices.Clone(c.Signals), func(s Signal) bool {
		return s.Operator != "" || s.Level == LevelObserve || s.Denied() || !s.Resolved.IsZero() || !c.late(s)
	})
}

// NotePresent stores in a record that has just been claimed what Prometheus says of the signals
// that had waited. Later decisions are about what was right then: an alert that is over, or has
// a weaker level now, asks for no more because another one claimed the shed.
func (r *Record) NotePresent(late []Signal, present map[Episode]Confirmation, now time.Time) {
	for _, was := range late {
		answer := present[was.Episode()]
		i := slices.IndexFunc(r.Signals, func(s Signal) bool { return s.Episode() == was.Episode() })
		switch {
		case i < 0:
		case answer.Answer == AnswerFiring:
			r.Signals[i].Confirmation = &answer
		case answer.Answer == AnswerQuiet, answer.Answer == AnswerUnproven:
			r.Signals[i].Resolved = now.Add(-time.Nanosecond)
		}
	}
}

// AssumeFiring returns the case in which Prometheus says that the late signals fire now, on
// what happened just now.
func (c Case) AssumeFiring() Case {
	c.Present = make(map[Episode]Confirmation)
	for _, s := range c.LateSignals() {
		c.Present[s.Episode()] = Confirmation{Answer: AnswerFiring, EvidenceFrom: c.Now}
	}
	return c
}

// assessLate changes the assessment of a signal that has waited without a shed: backout acts
// on it only if it fires now. Prometheus says so or, where it cannot be asked, Alertmanager has
// repeated the alert within the policy's Repeat.
func (c Case) assessLate(s Signal, a Assessment) Assessment {
	now, asked := c.Present[s.Episode()]
	switch {
	case now.Answer == AnswerFiring && now.Level == LevelObserve:
		a.Verdict, a.level, a.reason = Observe, LevelObserve, fmt.Sprintf("the level of the alert in %s is observe now", s.Evaluator())
	case now.Answer == AnswerFiring:
		if now.Level != "" && now.Level.WeakerThan(a.level) {
			a.level = now.Level
		}
		a.proof = fmt.Sprintf("; it waited, and %s says that it fires now", s.Evaluator())
	case now.Answer == AnswerQuiet, now.Answer == AnswerUnproven:
		a.Verdict, a.reason = Stale, fmt.Sprintf("the alert had to wait, and %s says that it does not fire any longer", s.Evaluator())
	case c.asksAbout(s) && !asked:
		a.Verdict, a.waits, a.reason = Settling, true, fmt.Sprintf("the alert had to wait; backout asks %s whether it still fires", s.Evaluator())
	case s.LastSeen.After(s.Received) && c.Now.Sub(s.LastSeen) <= c.Policy.Repeat:
		a.proof = fmt.Sprintf("; it waited, and Alertmanager repeated it at %s", s.LastSeen.Format(time.RFC3339))
	case c.Now.Sub(s.LastSeen) <= c.Policy.Repeat:
		a.Verdict, a.waits, a.recheckAt = Settling, true, s.LastSeen.Add(c.Policy.Repeat)
		a.reason = "the alert had to wait; backout waits until Alertmanager repeats it"
	default:
		a.Verdict, a.waits, a.missedRepeat = Settling, true, true
		if !c.asksAbout(s) {
			a.recheckAt = c.repeatDue(s)
		}
		a.reason = fmt.Sprintf("the alert had to wait, and Alertmanager has not repeated it since %s: that is longer than BACKOUT_REPEAT (%s). "+
			"It is over, silenced or inhibited, or %s repeats less often: lower its repeat_interval, or raise BACKOUT_REPEAT",
			s.LastSeen.Format(time.RFC3339), c.Policy.Repeat, s.routeName())
	}
	return a
}

// repeatDue returns when the next repeat of an alert that was not repeated in time is due. Each
// time that it is not, the next is awaited twice as long: a repeat that does come is decided at
// once.
func (c Case) repeatDue(s Signal) time.Time {
	wait := c.Policy.Repeat
	for wait > 0 && !c.Now.Before(s.LastSeen.Add(wait)) {
		wait *= 2
	}
	return s.LastSeen.Add(wait)
}

// routeName names the route of Alertmanager by the receiver that it leads to.
func (s Signal) routeName() string {
	if s.Route == "" {
		return "its route"
	}
	return fmt.Sprintf("the route to receiver %s", s.Route)
}
