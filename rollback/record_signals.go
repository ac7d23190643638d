package rollback

import (
	"slices"
	"time"
)

// maxSignals bounds the signals of a record; further episodes are only counted.
const maxSignals = 20

// repeatInterval is the minimum time between two writes for repeats of a known episode.
const repeatInterval = 30 * time.Second

// AddSignal adds s to the record, or updates the signal of the episode that s repeats. It
// reports whether the record has to be written.
func (r *Record) AddSignal(s Signal) bool {
	i := r.indexOf(s)
	if i < 0 && s.Resolved.IsZero() {
		return r.addEpisode(s)
	}
	if i < 0 {
		return false
	}
	known := &r.Signals[i]
	if !s.Resolved.IsZero() {
		if !known.Resolved.IsZero() {
			return false
		}
		known.Resolved = s.Resolved
		return true
	}
	if known.Denied() && !r.Shed.Tried() && s.Confirm != known.Confirm {
		// Another sender: nothing that the one before has posted is confirmed in its way.
		*known = s
		return true
	}
	// A step that was started is judged by when the alert began as it was known then.
	earlier := s.StartsAt.Before(known.StartsAt) && !r.Claimed()
	if earlier {
		known.StartsAt = s.StartsAt
	}
	if !earlier && known.Resolved.IsZero() && s.LastSeen.Sub(known.LastSeen) < repeatInterval {
		return false
	}
	if known.Denied() && !r.Shed.Tried() {
		known.Confirmation = nil // it still fires: backout asks again
	}
	known.LastSeen, known.Resolved = s.LastSeen, time.Time{}
	return true
}

// indexOf returns the index of the signal that s repeats; -1 without one.
func (r *Record) indexOf(s Signal) int {
	i := slices.IndexFunc(r.Signals, func(known Signal) bool { return s.Episode() == known.Episode() })
	if i < 0 {
		i = slices.IndexFunc(r.Signals, s.SameFiring)
	}
	return i
}

// addEpisode adds a signal of a new episode. In a full record it replaces the signal with
// the lowest priority, if its own is higher; otherwise it is only counted. An order of an operator
// replaces an older order.
func (r *Record) addEpisode(s Signal) bool {
	if len(r.Signals) < maxSignals {
		r.Signals = append(r.Signals, s)
		return true
	}
	if s.Operator != "" {
		// Orders have places of their own: they replace no alert.
		orders := slices.IndexFunc(r.Signals, ofOperator)
		if orders >= 0 {
			r.Signals = slices.Delete(r.Signals, orders, orders+1)
		}
		r.Signals = append(r.Signals, s)
		return true
	}
	r.DroppedSignals++
	lowest := 0
	for i, other := range r.Signals {
		if r.priority(other) < r.priority(r.Signals[lowest]) {
			lowest = i
		}
	}
	if r.priority(r.Signals[lowest]) < r.priority(s) {
		r.Signals[lowest] = s
	}
	return true
}

// priority orders signals by the right to a place in the record. A resolved signal has
// none, or an alert that comes and goes would fill the record; but it keeps its place if a
// step was started. A signal that Prometheus denies has none either: with invented alerts,
// a sender could fill the record.
func (r *Record) priority(s Signal) int {
	if s.Denied() || !s.Resolved.IsZero() && !r.Claimed() {
		return 0
	}
	return s.EffectiveLevel().rank()
}

// Holds reports whether the record contains a signal of this firing.
func (r *Record) Holds(s Signal) bool { return r.indexOf(s) >= 0 }

// SignalsToConfirm returns the signals that Prometheus has to be queried about: those without
// an answer, and, until their deadline, those with an unknown one.
func (r *Record) SignalsToConfirm(c Case) []Signal {
	var unconfirmed []Signal
	for _, s := range r.Signals {
		never := s.Confirmation == nil
		again := s.Answer() == AnswerUnknown && c.Now.Before(c.ConfirmDeadline(s))
		if s.Level != LevelObserve && s.Operator == "" && (never || again) {
			unconfirmed = append(unconfirmed, s)
		}
	}
	return unconfirmed
}

// Confirm stores the answers of Prometheus and reports whether one of them is new. A known
// answer is final: a later one replaces only an unknown one. Grafana forgets an alert whose series
// are gone, as those of a canary without requests are: once it has been taken out of rotation, its
// silence proves nothing.
func (r *Record) Confirm(answers map[Episode]Confirmation) bool {
	changed := false
	for i := range r.Signals {
		s := &r.Signals[i]
		answer, ok := answers[s.Episode()]
		if !ok || s.Confirmation != nil && (answer.Answer == AnswerUnknown || s.Answer() != AnswerUnknown) {
			continue
		}
		if s.Confirm == ConfirmByGrafana && s.Answer() == AnswerUnknown && answer.Answer == AnswerQuiet && r.Shed.Tried() {
			continue
		}
		s.Confirmation, changed = &answer, true
	}
	return changed
}

// LastReceived returns when backout last received any signal, and when it last received
// one that counts: an alert with a level above observe that Prometheus does not deny. Either
// is zero if there is no such signal.
func (r *Record) LastReceived() (anySignal, counting time.Time) {
	for _, s := range r.Signals {
		anySignal = Later(anySignal, s.Received)
		if s.Operator == "" && s.EffectiveLevel() != LevelObserve && !s.Denied() {
			counting = Later(counting, s.Received)
		}
	}
	return anySignal, counting
}

// Suspected returns when backout first received an alert that counts for a storm, and when it
// last received one, repeats included. Both are zero if none counts.
func (r *Record) Suspected() (first, seen time.Time) {
	for _, s := range r.Signals {
		if s.Operator != "" || s.EffectiveLevel() == LevelObserve || s.Denied() {
			continue
		}
		if first.IsZero() || s.Received.Before(first) {
			first = s.Received
		}
		seen = Later(seen, Later(s.LastSeen, s.Received))
	}
	return first, seen
}

// Evaluator names the servers that evaluate the rule of the record's first alert, for operators.
func (r *Record) Evaluator() string {
	for _, s := range r.Signals {
		if s.Operator == "" {
			return s.Evaluator()
		}
	}
	return Signal{}.Evaluator()
}

// Resolved reports whether Alertmanager reported the end of every alert that counts for
// recovery.
func (r *Record) Resolved() bool {
	for _, s := range r.Signals {
		if s.CountsForRecovery() && s.Resolved.IsZero() {
			return false
		}
	}
	return true
}
