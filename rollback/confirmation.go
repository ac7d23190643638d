package rollback

import (
	"time"
)

// Confirmation is the answer of the Prometheus servers about an alert.
type Confirmation struct {
	Answer Answer `json:"answer"`
	// ActiveSince is when the alert's condition became true, before any `for`; zero if
	// Prometheus does not say.
	ActiveSince time.Time `json:"activeSince,omitzero"`
	// Level is the backout label with which the alert fires in Prometheus; "" if it does
	// not fire. It may be another one than the signal's: Prometheus and Alertmanager can
	// relabel an alert on its way.
	Level Level `json:"level,omitempty"`
	// EvidenceFrom is when the window began that the alert's rule had looked back on when
	// it was last evaluated, and true; zero if that is not known, or was not asked.
	EvidenceFrom time.Time `json:"evidenceFrom,omitzero"`
	// Error says why the answer is unknown or unproven.
	Error string `json:"error,omitempty"`
}

// Answer is whether Prometheus says that an alert fired.
type Answer string

// The answers. AnswerFiring needs one server that has the rule; AnswerQuiet needs every
// server to answer, with the rule loaded and evaluated since. AnswerUnproven needs every
// server to answer, and one of them to evaluate rules with a backout label: no rule has
// the alert's name, or the alert fires without a backout label.
const (
	AnswerFiring   Answer = "firing"
	AnswerQuiet    Answer = "quiet"
	AnswerUnproven Answer = "unproven"
	AnswerUnknown  Answer = "unknown"
)
