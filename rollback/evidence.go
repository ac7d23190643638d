package rollback

import (
	"fmt"
	"time"
)

// Window returns how far the evidence of an alert reaches back: the longest window of its rule,
// keep_firing_for and one evaluation. It is Settle unless Windows has a shorter one.
func (p Policy) Window(alert string) time.Duration {
	if w, ok := p.Windows[alert]; ok && w < p.Settle {
		return w
	}
	return p.Settle
}

// windowEnds returns from when on the evidence of the alert is only about the newest revision:
// before, the window of its rule reaches back to requests that an earlier revision served. It
// is zero if no earlier revision served what the alert names, or if the alert names the
// revision itself.
func (c Case) windowEnds(s Signal) time.Time {
	_, until := c.servedBefore(s)
	if until.IsZero() {
		return until
	}
	return until.Add(c.Policy.Window(s.Alert))
}

// ownWindow reports whether all evidence of an alert that fires at that time is about the
// newest revision: its window has passed since an earlier one served, or Prometheus says that
// its rule looks back no further.
func (c Case) ownWindow(s Signal, at time.Time) bool {
	return !at.Before(c.windowEnds(s)) || c.ownEvidence(s)
}

// servedBefore returns the newest earlier revision that served requests for which the alert may
// fire, and until when: until the revision above it was deployed. The time is zero if no earlier
// one did. An alert that names a version of the newest revision counts only the requests of that
// version, whichever revision served them; any other alert counts all. Consecutive revisions with the content of the newest one, such as the steps
// of a ramp, count as one with it: their pods are the same.
func (c Case) servedBefore(s Signal) (earlier Revision, until time.Time) {
	newest := c.History.Newest()
	if s.Revision == newest.Number {
		return Revision{}, time.Time{}
	}
	own, next := true, newest
	for _, r := range c.History.Older() {
		if !c.maySuspect(r) {
			continue // Helm changed nothing: the pods are those of the revision below
		}
		own = own && newest.Content != "" && r.Content == newest.Content
		if !own && (!newest.HasVersion(s.Version) || r.HasVersion(s.Version)) {
			return r, next.Deployed
		}
		next = r
	}
	return Revision{}, time.Time{}
}

// looksBackTo changes the assessment of an alert whose rule looks back to an earlier revision:
// it waits until its window ends, or the evaluation that looks back no further.
func (c Case) looksBackTo(s Signal, a Assessment) Assessment {
	if !s.Resolved.IsZero() {
		a.Verdict, a.reason = Stale, "the alert was resolved before backout acted on it"
		return a
	}
	earlier, until := c.servedBefore(s)
	newest, since, window := c.History.Newest(), until.UTC().Format(time.RFC3339), c.Policy.Window(s.Alert)
	a.Verdict, a.recheckAt, a.versionNote, a.poll = Settling, c.windowEnds(s), "", c.asksAbout(s) && a.level != LevelObserve
	if newest.HasVersion(s.Version) {
		a.reason = fmt.Sprintf("revision %d ran version %s too, until %s, and the alert looks back %s", earlier.Number, s.Version, since, window)
	} else {
		a.reason = fmt.Sprintf("the alert names no version of revision %d, whose content was deployed at %s, and looks back %s", newest.Number, since, window)
	}
	return a
}
