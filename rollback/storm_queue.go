package rollback

import (
	"cmp"
	"fmt"
	"time"
)

// afterStorm returns the decision about a release that was in a storm: it is shed like every
// other, and its rollback waits for its turn. The first one begins a while after the sheds,
// which take the canaries out of rotation: nothing is urgent any longer.
func (c Case) afterStorm(d Decision) Decision {
	left, was := c.record().leftStorm(c.Now)
	if !d.Rollback || !was {
		return d
	}
	q, from := c.Storm.Queue, left.Add(c.Policy.Verify)
	waiting := Decision{Verdict: Storming, Shed: d.Shed, Waits: true}
	switch {
	case c.Storm.Others+1 >= c.stormLeast():
		waiting.RecheckAt = c.Storm.Over
		waiting.Reason = "there is a storm again; the rollback waits until it is over"
	case q.Unknown:
		waiting.Reason = "backout has just begun to lead, and reads how far the rollbacks after the storm are"
	case !q.Recovered && q.Failed >= maxStormFailures:
		waiting.Reason = fmt.Sprintf("%d rollbacks after the storm did not recover their releases; this release and the others wait for an operator", maxStormFailures)
		waiting.NeedsHelp, waiting.Command = q.Behind == Key{}, c.manualCommand()
	case c.Now.Before(from) && q.Waiting > 0:
		waiting.RecheckAt = from
		waiting.Reason = fmt.Sprintf("the storm is over, and the alert still fires; rollbacks begin one by one, %s after the shed", c.Policy.Verify)
	case !q.Recovered && q.Behind != Key{}:
		waiting.Reason = fmt.Sprintf("the storm is over; the rollback waits until that of %s has recovered it", q.Behind)
	default:
		d.Reason += "; it was in a storm"
		return d
	}
	c.trace("storm queue", "%s", waiting.Reason)
	return waiting
}

// lastStorm returns the indexes of the first and the last decision of the last storm; -1 if the
// release was in none.
func (r *Record) lastStorm() (began, last int) {
	last = -1
	for i, d := range r.Decisions {
		if d.Verdict == Storming && !d.Shed {
			last = i
		}
	}
	began = last
	for began > 0 && r.Decisions[began-1].Verdict == Storming {
		began--
	}
	return began, last
}

// leftStorm returns when the record was first decided without a storm after its last storm; now
// if that is the decision to be taken. It reports whether it was in a storm.
func (r *Record) leftStorm(now time.Time) (time.Time, bool) {
	_, last := r.lastStorm()
	switch {
	case last < 0:
		return time.Time{}, false
	case last+1 < len(r.Decisions):
		return r.Decisions[last+1].At, true
	default:
		return now, true
	}
}

// WasInStorm reports whether the release of the record was in a storm, and since when it was
// in the last one.
func (r *Record) WasInStorm() (time.Time, bool) {
	began, last := r.lastStorm()
	if last < 0 {
		return time.Time{}, false
	}
	return r.Decisions[began].At, true
}

// LeftToLeader reports whether the decision about the record is the leader's alone: its canary
// was shed after a storm, and this process does not know whose turn the rollback is.
func (c Case) LeftToLeader(r *Record) bool {
	return c.Storm.Queue.Unknown && r.Shed.Tried() && r.Closed.IsZero()
}

// StormStep is how far the rollback of one release of a storm is.
type StormStep struct {
	Key      Key
	Revision int
	// Since is when the release was first in the storm, Began when its rollback began or was
	// decided; zero while it waits.
	Since, Began time.Time
	// Outcome is that of the rollback, Ended that there will be no other.
	Outcome Outcome
	Ended   bool
}

// StormStepOf returns how far the rollback of a record is; false if it was in no storm, or
// needs no turn.
func StormStepOf(r *Record) (StormStep, bool) {
	since, was := r.WasInStorm()
	s := StormStep{Key: r.Key, Revision: r.Revision, Since: since, Outcome: r.Outcome, Ended: !r.Closed.IsZero() || r.Rollback != nil && r.Rollback.Failed}
	switch d := r.Decision(); {
	case !was || r.isStuck():
		return s, false
	case r.Rollback != nil:
		s.Began = r.Rollback.Started
	case s.Ended:
		return s, false
	case d.Rollback:
		s.Began = d.At
	case d.Verdict != Storming:
		return s, false
	}
	return s, true
}

// isStuck reports whether backout does not go on with the record at the moment: no other release
// waits for it.
func (r *Record) isStuck() bool {
	return r.Rollback == nil && (r.Manual.Active() || r.SetAside() || r.Obstacle != nil && !r.Obstacle.Finished())
}

// QueueAmong returns the queue of a release that was in a storm since that time, among the steps
// of all releases.
func QueueAmong(k Key, since time.Time, all []StormStep, p Policy, now time.Time) StormQueue {
	var q StormQueue
	first := StormStep{Key: k, Since: since}
	for _, s := range all {
		switch {
		case s.Key == k:
		case s.Began.IsZero():
			q.Waiting++
			if cmp.Or(s.Since.Compare(first.Since), s.Key.Compare(first.Key)) < 0 {
				first = s
			}
		case s.Began.Before(since):
		case s.Outcome == OutcomeRecovered:
			q.Recovered = true
		case s.Outcome != "" || s.Ended || now.Sub(s.Began) >= p.VerifyLimit:
			q.Failed++
		default:
			q.Behind = s.Key
		}
	}
	if q.Behind == (Key{}) && first.Key != k {
		q.Behind = first.Key
	}
	return q
}
