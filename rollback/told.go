package rollback

import (
	"slices"
	"time"
)

// Told is what one channel was told about a record, so that the next leader
// repeats nothing and forgets nothing.
type Told struct {
	// Lines are the keys of what was told.
	Lines []string `json:"lines,omitempty"`
	// Place is where the channel put it, if it can be found again there, such as
	// Slack's "<channel>:<timestamp>".
	Place string `json:"place,omitempty"`
	// At is when something was told last.
	At time.Time `json:"at,omitzero"`
}

// Add returns what was told by t and by o; t's lines come first, and the place is
// that of whoever told last.
func (t Told) Add(o Told) Told {
	lines := slices.Clone(t.Lines)
	for _, line := range o.Lines {
		if !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	all := Told{Lines: lines, Place: t.Place, At: t.At}
	if o.Place != "" && (t.Place == "" || !o.At.Before(t.At)) {
		all.Place = o.Place
	}
	if o.At.After(t.At) {
		all.At = o.At
	}
	return all
}

// Has reports whether a line was told.
func (t Told) Has(line string) bool { return slices.Contains(t.Lines, line) }
