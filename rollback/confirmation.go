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
	// Error says why the answer is unknown.
	Error string `json:"error,omitempty"`
}

// Answer is whether Prometheus says that an alert fired.
type Answer string

// The answers. AnswerFiring needs one server; AnswerQuiet needs every server to answer,
// with the rule loaded and evaluated since.
const (
	AnswerFiring  Answer = "firing"
	AnswerQuiet   Answer = "quiet"
	AnswerUnknown Answer = "unknown"
)
