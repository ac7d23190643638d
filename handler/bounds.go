package handler

import (
	"errors"
	"fmt"

	"github.com/upcommerce/backout/rollback"
)

// Bounds of a payload besides BACKOUT_MAX_BODY_BYTES: an alert of three bytes takes more
// than a hundred once it is decoded. Real alerts have some twenty fields, labels and
// annotations, and some hundred bytes.
const (
	// maxAlerts bounds the alerts.
	maxAlerts = 2000
	// maxAlertValues bounds the fields, labels and annotations of one alert.
	maxAlertValues = 200
	// maxPayloadValues bounds the fields of all.
	maxPayloadValues = 40_000
)

// errTooMuch says that a payload exceeds a bound.
var errTooMuch = errors.New("too much in one payload")

// checkPayload returns errTooMuch if a payload exceeds a bound. It allocates nothing, and
// does not check that the payload is JSON: for a text that is not, the result means
// nothing.
func checkPayload(text []byte) error {
	var s payloadSize
	for _, c := range text {
		if s.structure.Next(c) {
			s.add(c)
		}
		if s.alertValues > maxAlertValues || s.values > maxPayloadValues || s.alerts > maxAlerts {
			return s.err()
		}
	}
	return nil
}

// payloadSize is what a payload has so far. The alerts are the entries of a list in the
// outermost object; the entries of other lists there count as well.
type payloadSize struct {
	structure rollback.JSONStructure
	depth     int
	// inList says that a list of the outermost object is being read.
	inList bool

	alerts, values, alertValues int
}

func (s *payloadSize) add(c byte) {
	switch c {
	case '{', '[':
		s.depth++
		s.values++
		s.alertValues++
		if s.depth == 2 {
			s.inList = c == '['
			s.entry()
		}
	case '}', ']':
		s.depth--
		s.inList = s.inList && s.depth >= 2
	case ',':
		s.values++
		s.alertValues++
		if s.depth == 2 {
			s.entry()
		}
	}
	if !s.inList {
		s.alertValues = 0
	}
}

// entry begins an alert, if a list is being read.
func (s *payloadSize) entry() {
	if s.inList {
		s.alerts++
	}
	s.alertValues = 0
}

func (s *payloadSize) err() error {
	switch {
	case s.alerts > maxAlerts:
		return fmt.Errorf("%w: more than %d alerts", errTooMuch, maxAlerts)
	case s.alertValues > maxAlertValues:
		return fmt.Errorf("%w: alerts[%d] has more than %d fields, labels and annotations", errTooMuch, s.alerts-1, maxAlertValues)
	default:
		return fmt.Errorf("%w: more than %d fields", errTooMuch, maxPayloadValues)
	}
}
