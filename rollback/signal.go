package rollback

import (
	"fmt"
	"time"
)

// Signal is one episode of an alert about a release, or one order of an operator, reduced
// to what backout uses. The record stores it.
type Signal struct {
	Alert string `json:"alert"`
	// Operator is the one who gave this order; "" for an alert.
	Operator string `json:"operator,omitempty"`
	Level    Level  `json:"level"`
	// Sender names the token or the certificate with which the alert was posted; "" for an
	// order, or if backout does not authenticate senders.
	Sender string `json:"sender,omitempty"`
	// Confirm says where backout asks about the alert; "" is Prometheus.
	Confirm ConfirmBy `json:"confirm,omitempty"`
	// Route names the receiver of Alertmanager through which the alert came; "" if the payload
	// does not say.
	Route       string `json:"route,omitempty"`
	Fingerprint string `json:"fingerprint"`
	// Revision and Version are those that the alert names, 0 and "" if it names none.
	Revision int    `json:"revision,omitempty"`
	Version  string `json:"version,omitempty"`
	Summary  string `json:"summary,omitempty"`
	// Description is the alert's annotation, with its values; Link leads to the alert's
	// expression. Operators read them; no decision depends on them.
	Description string `json:"description,omitempty"`
	Link        string `json:"link,omitempty"`
	// StartsAt is when the alert began to fire.
	StartsAt time.Time `json:"startsAt"`
	// Received is when backout first received this episode, LastSeen when it last
	// received it (written at most every 30 s).
	Received time.Time `json:"received"`
	LastSeen time.Time `json:"lastSeen"`
	// Resolved is when Alertmanager reported the end of the alert; zero while it fires.
	Resolved time.Time `json:"resolved,omitzero"`
	// Confirmation is what Prometheus, or Grafana, says about the alert at the time of its
	// receipt; nil until backout has queried it.
	Confirmation *Confirmation `json:"confirmation,omitempty"`
}

// Episode identifies one firing of one alert within a record, in which its StartsAt is the
// same; Signal.SameFiring recognizes the firing in what is delivered.
type Episode struct {
	Fingerprint string
	StartsAt    time.Time
}

// Episode returns the identity of the firing. That of an operator's order is no alert's.
func (s Signal) Episode() Episode {
	if s.Operator != "" {
		return Episode{Fingerprint: "order of " + s.Operator, StartsAt: s.StartsAt.UTC()}
	}
	return Episode{Fingerprint: s.Fingerprint, StartsAt: s.StartsAt.UTC()}
}

// SameFiring reports whether the signals are deliveries of one firing: known is an earlier one,
// which lasted from its StartsAt to its LastSeen at least, and s has begun within that time, or
// before it. Of the times at which several Prometheus servers saw the firing begin,
// Alertmanager reports the earliest that it knows: StartsAt moves when a server starts again,
// and between two Alertmanagers. An operator's order is the same only if all is.
func (s Signal) SameFiring(known Signal) bool {
	if s.Episode() == known.Episode() {
		return true
	}
	return s.Operator == "" && known.Operator == "" && s.Fingerprint == known.Fingerprint &&
		!s.StartsAt.After(known.LastSeen) && !known.StartsAt.After(s.LastSeen)
}

// Evaluator names the servers that evaluate the alert's rule, for operators.
func (s Signal) Evaluator() string {
	if s.Confirm == ConfirmByGrafana {
		return "Grafana"
	}
	return "Prometheus"
}

// Answer returns what Prometheus said about the alert; "" if it was not queried.
func (s Signal) Answer() Answer {
	if s.Confirmation == nil {
		return ""
	}
	return s.Confirmation.Answer
}

// Denied reports whether Prometheus was queried and does not confirm the alert. Such a
// signal counts for nothing.
func (s Signal) Denied() bool { return s.Answer() == AnswerQuiet || s.Answer() == AnswerUnproven }

// EffectiveLevel returns the level that counts: that of the alert as backout received it,
// or that with which it fires in Prometheus, whichever is weaker. A level that does not
// exist counts as LevelObserve.
func (s Signal) EffectiveLevel() Level {
	level := s.Level
	if s.Confirmation != nil && s.Confirmation.Level != "" && s.Confirmation.Level.WeakerThan(level) {
		level = s.Confirmation.Level
	}
	if !level.Valid() {
		return LevelObserve
	}
	return level
}

// ActiveSince returns when the condition of the alert became true, which may be before
// the alert's `for` was over; if Prometheus does not say, it returns StartsAt.
func (s Signal) ActiveSince() time.Time {
	if s.activeSinceKnown() {
		return s.Confirmation.ActiveSince
	}
	return s.StartsAt
}

// activeSinceKnown reports whether Prometheus says since when the condition is true.
func (s Signal) activeSinceKnown() bool {
	return s.Confirmation != nil && !s.Confirmation.ActiveSince.IsZero()
}

// CountsForRecovery reports whether the end of the signal says anything about recovery:
// that of an operator's order, of an alert of level observe or of one that no rule proves
// does not.
func (s Signal) CountsForRecovery() bool {
	return s.Operator == "" && s.EffectiveLevel() != LevelObserve && s.Answer() != AnswerUnproven
}

// EvaluatorSays returns the answer of Prometheus, or Grafana, as a clause for operators.
func (s Signal) EvaluatorSays() string {
	switch s.Answer() {
	case AnswerFiring:
		if other := s.Confirmation.Level; other != "" && other != s.Level {
			return fmt.Sprintf("%s says that it fires, with the level %s", s.Evaluator(), other)
		}
		return s.Evaluator() + " says that it fires"
	case AnswerQuiet:
		return s.Evaluator() + " says that it does not fire"
	case AnswerUnproven:
		return s.Evaluator() + " does not confirm it: " + s.Confirmation.Error
	case AnswerUnknown:
		return s.Evaluator() + " could not confirm it: " + s.Confirmation.Error
	default:
		if s.Confirm == ConfirmByNone {
			return "backout believes its sender, as BACKOUT_TOKENS says"
		}
		return s.Evaluator() + " was not queried"
	}
}
