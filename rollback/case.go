package rollback

import (
	"slices"
	"time"
)

// Case is everything that a decision depends on.
type Case struct {
	Key Key
	// Signals are those of the newest revision's record, the new one included.
	Signals []Signal
	// History is that of the release, as just read, down from the suspect revision; Unfinished
	// are the newer revisions, newest first, if the suspect still runs under them. AtSuspect
	// divides the two.
	History    History
	Unfinished []Revision
	// Records are those of the release, of every installation. That of the newest revision
	// is among them once it exists.
	Records []Record
	// Paused says who paused backout, since when and why; "" if it is not paused.
	Paused string
	// Storm is about the other releases.
	Storm Storm
	// Asks says that there are servers that backout can ask. Present are the answers about the
	// present moment, for the late signals about which one of them was asked.
	Asks    bool
	Present map[Episode]Confirmation
	// Serving is when the pods of the newest content were first seen to serve, alone; zero if
	// they were not, or if no signal depends on it: see AwaitsEvidence.
	Serving time.Time
	// Routing is the canary's live traffic; nil before backout has observed it.
	Routing *Routing
	Policy  Policy
	Now     time.Time

	// traceTo, if not nil, receives the checks of the decision.
	traceTo *Trace
}

// AtSuspect returns the case with the history from the revision on that the signals are about:
// the newest one or, if that is pending or failed, the deployed one below it, which may still
// run. It is the deployed one if Helm changed nothing since, or if a signal names it and none
// names a newer one.
func (c Case) AtSuspect() Case {
	if len(c.History) == 0 {
		return c
	}
	for _, deployed := range c.History.Older() {
		if deployed.Status != StatusDeployed {
			continue
		}
		from, newer := c.History.From(deployed.UID)
		if len(newer) > 0 && (!slices.ContainsFunc(newer, c.maySuspect) || c.names(deployed, newer)) {
			c.History, c.Unfinished = from, newer
		}
		return c
	}
	return c
}

// asksAbout reports whether backout can ask a server about the signal.
func (c Case) asksAbout(s Signal) bool { return c.Asks && s.Confirm != ConfirmByNone }

// maySuspect reports whether Helm may have written objects of the revision.
func (c Case) maySuspect(r Revision) bool { return !r.changedNothing(c.Key.Release) }

// names reports whether a signal names the deployed revision, and none of the newer ones.
func (c Case) names(deployed Revision, newer []Revision) bool {
	named := func(r Revision) bool {
		return slices.ContainsFunc(c.Signals, func(s Signal) bool { return s.Revision == r.Number || r.HasVersion(s.Version) })
	}
	return named(deployed) && !slices.ContainsFunc(newer, named)
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
// in the history with the same UID, or Helm has pruned it (`--history-max`).
func (c Case) current(r *Record) bool {
	if rev, ok := c.History.Named(r.Revision); ok {
		return rev.UID == r.UID
	}
	return r.Revision < c.History[len(c.History)-1].Number
}
