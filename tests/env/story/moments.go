package story

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// The kinds of moments, in the order in which they should happen.
const (
	SawBad        = "first bad request"
	SawPending    = "pending"
	SawFiring     = "firing"
	SawWebhook    = "webhook"
	SawRecord     = "record"
	SawZero       = "weight zero"
	SawLastBad    = "last bad request"
	SawRolledBack = "rolled back"
	SawRestored   = "weight restored"
	SawVerified   = "verified"
)

// Moment is one observation.
type Moment struct {
	Kind, Text string
	At         time.Time
}

// Moments are in the order in which Follow saw them.
type Moments []Moment

// First returns the first moment of the kind, and whether there is one.
func (m Moments) First(kind string) (Moment, bool) {
	i := slices.IndexFunc(m, func(o Moment) bool { return o.Kind == kind })
	if i < 0 {
		return Moment{}, false
	}
	return m[i], true
}

// Began returns the time that all others are counted from: when the first bad request was
// sent, or without one, when the alert began to fire. It is zero before both.
func (m Moments) Began() time.Time {
	for _, kind := range []string{SawBad, SawFiring} {
		if began, ok := m.First(kind); ok {
			return began.At
		}
	}
	return time.Time{}
}

// since returns the time since Began, in seconds.
func (m Moments) since(o Moment) string {
	began := m.Began()
	if began.IsZero() {
		return "         "
	}
	return fmt.Sprintf("%+8.3fs", o.At.Sub(began).Seconds())
}

// Table writes the moments in the order in which they happened, one per line.
func (m Moments) Table(w io.Writer) {
	ordered := slices.Clone(m)
	slices.SortStableFunc(ordered, func(a, b Moment) int { return a.At.Compare(b.At) })
	var text strings.Builder
	t := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, o := range ordered {
		fmt.Fprintf(t, "%s\t%s\t%s\n", m.since(o), o.Kind, o.Text)
	}
	_ = t.Flush()
	_, _ = io.WriteString(w, text.String())
}
