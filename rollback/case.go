package rollback

import (
	"time"
)

// Case is everything that a decision depends on.
type Case struct {
	Key Key
	// Signals are those of the newest revision's record, the new one included.
	Signals []Signal
	// History is that of the release, as just read.
	History History
	// Records are those of the release, of every installation. That of the newest revision
	// is among them once it exists.
	Records []Record
	// Paused says who paused backout, since when and why; "" if it is not paused.
	Paused string
	// Storm is about the other releases.
	Storm Storm
	// Routing is the canary's live traffic; nil before backout has observed it.
	Routing *Routing
	Policy  Policy
	Now     time.Time

	// traceTo, if not nil, receives the checks of the decision.
	traceTo *Trace
}

// Storm is how many other releases have signals at the same time.
type Storm struct {
	// Others is how many got a signal within the policy's StormWindow.
	Others int
	// Over is when they are too few for a storm, if no more releases get one.
	Over time.Time
}

// record returns the record of the newest revision; an empty one if it does not exist.
func (c Case) record() *Record {
	for i := range c.Records {
		if c.Records[i].about(c.History.Newest()) {
			return &c.Records[i]
		}
	}
	return &Record{}
}

// With returns the case with r instead of the stored record of the same revision, and with
// the signals of r.
func (c Case) With(r Record) Case {
	records := make([]Record, 0, len(c.Records)+1)
	for _, other := range c.Records {
		if !other.about(r.Suspect()) {
			records = append(records, other)
		}
	}
	c.Records = append(records, r)
	c.Signals = r.Signals
	return c
}

// current reports whether r is about this installation of the release: its revision is
// still in the history with the same UID.
func (c Case) current(r *Record) bool {
	rev, ok := c.History.Named(r.Revision)
	return ok && rev.UID == r.UID
}
