package rollback

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Times and bounds of a storm, besides those of the policy.
const (
	// slowStorm is the time within which more releases than the policy's number are a storm,
	// too, however slowly they come.
	slowStorm = time.Hour
	// maxStormFailures is how many rollbacks of a storm may end without recovery before the
	// others wait for an operator.
	maxStormFailures = 3
	// optedInShare is the part of the opted-in releases that makes a storm: 1 in so many.
	optedInShare = 100
)

// Storm is how many other releases have signals at the same time, and whether the rollback of
// a release that was in a storm may begin.
type Storm struct {
	// Others is how many got a signal within the policy's StormWindow; in a storm, also those
	// that got theirs before, in the same storm.
	Others int
	// Least is how many releases together make a storm; the policy's StormReleases if that is
	// more.
	Least int
	// Over is when the storm is over, if no more releases get a signal; zero without a storm.
	Over time.Time
	// Queue is about the rollbacks of the releases that were in a storm.
	Queue StormQueue
}

// StormQueue is how far the rollbacks of the releases of a storm are.
type StormQueue struct {
	// Unknown says that this process has just begun to lead, and has not read how far they are.
	Unknown bool
	// Behind is a release whose rollback comes first, or is in progress; the zero Key if it is
	// this one's turn.
	Behind Key
	// Waiting is how many other releases wait.
	Waiting int
	// Failed is how many rollbacks since the storm ended without recovery, or have not
	// recovered their release within the policy's VerifyLimit. Recovered says that one did.
	Failed    int
	Recovered bool
}

// Suspected is one release that counts for a storm.
type Suspected struct {
	// Since is when backout first received a signal that counts, Last when it last received
	// one, repeats included.
	Since, Last time.Time
	// Over says that the signals have ended.
	Over bool
}

// fires reports whether the release's signals fire, as far as Alertmanager says.
func (s Suspected) fires(p Policy, now time.Time) bool { return !s.Over && now.Sub(s.Last) < p.Repeat }

// StormAmong returns the storm that a release is in if it has a signal now, among the others,
// with so many opted-in releases.
//
// A storm begins when enough releases have got a signal within the policy's window, or still
// fire, or when more than that got one within an hour. It lasts until none has got one for a
// window: alerts that go on firing prolong it no further.
func StormAmong(others []Suspected, optedIn int, p Policy, now time.Time) Storm {
	storm := Storm{Least: max(p.StormReleases, (optedIn+optedInShare-1)/optedInShare)}
	times := []time.Time{now}
	firing := 1
	for _, s := range others {
		times = append(times, s.Since)
		if s.fires(p, now) {
			firing++
		}
		if now.Sub(s.Since) < p.StormWindow {
			storm.Others++
			storm.Over = Later(storm.Over, s.Since.Add(p.StormWindow))
		}
	}
	slices.SortFunc(times, time.Time.Compare)
	if storm.Over.IsZero() {
		return storm
	}
	begun := firing >= storm.Least
	run := 1 // how many got their signal one after the other, up to now, with no window between
	for i, at := range slices.Backward(times) {
		within := func(d time.Duration) int {
			return slices.IndexFunc(times, func(t time.Time) bool { return at.Sub(t) < d })
		}
		begun = begun || i-within(p.StormWindow)+1 >= storm.Least || i-within(slowStorm)+1 > storm.Least
		if i == 0 || at.Sub(times[i-1]) >= p.StormWindow {
			break
		}
		run++
	}
	if !begun {
		storm.Over = time.Time{}
		return storm
	}
	storm.Others = max(storm.Others, firing-1, run-1, storm.Least-1)
	return storm
}

// stormy reports whether so many releases have signals that no step may start. Steps
// that were started go on.
func (c Case) stormy() bool {
	return c.Storm.Others+1 >= c.stormLeast() && !c.record().Claimed()
}

// stormLeast is how many releases make a storm.
func (c Case) stormLeast() int { return max(c.Policy.StormReleases, c.Storm.Least) }

// duringStorm waits for the end of the storm.
func (c Case) duringStorm() Decision {
	return Decision{
		Verdict: Storming, RecheckAt: c.Storm.Over, Waits: true, NeedsHelp: true, Command: c.manualCommand(),
		Reason: fmt.Sprintf("alerts fired for %d releases within %s: look for a cause that they share, not for bad canaries", c.Storm.Others+1, c.Policy.StormWindow),
	}
}

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
		waiting.Reason = fmt.Sprintf("%d rollbacks after the storm did not recover their releases; this release and %d others wait for an operator", q.Failed, q.Waiting)
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

// leftStorm returns when the record was first decided without a storm after its last storm; now
// if that is the decision to be taken. It reports whether it was in a storm.
func (r *Record) leftStorm(now time.Time) (time.Time, bool) {
	for i, d := range slices.Backward(r.Decisions) {
		if d.Verdict == Storming && !d.Shed {
			if i+1 < len(r.Decisions) {
				return r.Decisions[i+1].At, true
			}
			return now, true
		}
	}
	return time.Time{}, false
}

// WasInStorm reports whether the release of the record was in a storm, and since when it was
// in the last one.
func (r *Record) WasInStorm() (time.Time, bool) {
	last := -1
	for i, d := range r.Decisions {
		if d.Verdict == Storming && !d.Shed {
			last = i
		}
	}
	if last < 0 {
		return time.Time{}, false
	}
	for last > 0 && r.Decisions[last-1].Verdict == Storming {
		last--
	}
	return r.Decisions[last].At, true
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
