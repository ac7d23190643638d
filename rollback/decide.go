package rollback

import (
	"cmp"
	"fmt"
	"time"
)

// Case is everything that a decision depends on.
type Case struct {
	Key Key
	// Accusations are those of the accused revision's record, with the new one.
	Accusations []Accusation
	// History is the release's, as just read.
	History History
	// Records are all of the release's, of every life; the accused revision's
	// own among them once it exists.
	Records []Record
	// Paused says who switched backout off, since when and why; "" if nobody did.
	Paused string
	// Storm is what is known about the other releases.
	Storm Storm
	// Routing is the canary's live traffic; nil before it was looked at.
	Routing *Routing
	Policy  Policy
	Now     time.Time

	// grounds, if not nil, notes what is asked and found.
	grounds *Grounds
}

// Storm is how many other releases are accused at the same time.
type Storm struct {
	// Others is how many were accused within the policy's StormWindow.
	Others int
	// Over is when they will be too few for a storm, if no more come.
	Over time.Time
}

// Decide says what is to be done about the accused revision, the newest one of
// the history. It is pure: the same case always gives the same decision.
//
// Decide does not know whether a step was already started; the engine never
// takes a started step back.
func Decide(c Case) Decision {
	d := c.observed(c.narrow(c.decide()))
	d.At = c.Now
	return d
}

// decide asks, in this order: is there a release, may anything be done about it,
// is this revision accused, is it the canary, and how much may be done.
func (c Case) decide() Decision {
	accused := c.History.Accused()
	c.found("release", "%s is at revision %d, which Helm calls %s", c.Key, accused.Number, accused.Status)
	if accused.Status == StatusUninstalled || accused.Status == StatusUninstalling {
		return Decision{Verdict: UnknownRelease, Reason: "the release is " + string(accused.Status)}
	}
	if d, ok := c.settledByHold(); ok {
		c.found("hold", "the revision was held before")
		return d
	}
	c.found("pause", "%s", cmp.Or(c.Paused, "nobody has paused backout"))
	if c.Paused != "" {
		return Decision{Verdict: Paused, Reason: c.Paused}
	}
	f := c.strongest()
	if f.verdict != Act && f.verdict != Unknown {
		return Decision{Verdict: f.verdict, Reason: f.reason + f.note, Again: f.again, Waits: !f.again.IsZero()}
	}
	c.found("storm", "%d other releases accused within %s; %d together are a storm", c.Storm.Others, c.Policy.StormWindow, c.Policy.StormReleases)
	if c.stormy() {
		return Decision{
			Verdict: Storming, Again: c.Storm.Over, Waits: true, People: true, Do: c.byHand(),
			Reason: fmt.Sprintf("%d other releases were accused within %s: it is not the canaries", c.Storm.Others, c.Policy.StormWindow),
		}
	}
	d := c.permit(f)
	d.Reason += f.note
	if !f.again.IsZero() {
		d.Again, d.Waits = f.again, true
	}
	return d
}

// settledByHold returns the decision about a revision that was held before: a hold
// that was begun is final for its revision, and what a person lifted is the
// person's.
func (c Case) settledByHold() (Decision, bool) {
	own := c.own()
	if own.Hold != nil && own.Hold.Lifted && own.Rollback == nil {
		return Decision{Verdict: Handled, Reason: fmt.Sprintf("the hold of revision %d is over: %s", own.Revision, own.Hold.Why)}, true
	}
	// A hold that an alert asked for gives way to one that asks for more.
	d := own.Decision()
	begun := own.Shed.tried() || own.Hold.Lasts()
	return d, d.Hold && (d.Verdict != Act && begun || len(own.Accusations) == 0)
}

// stormy reports whether so many releases are accused that nothing is begun.
func (c Case) stormy() bool {
	return c.Storm.Others+1 >= c.Policy.StormReleases && !c.own().Claimed()
}

// observed is the decision in mode act, and in mode observe what it would have
// been.
func (c Case) observed(d Decision) Decision {
	if c.Policy.Mode != ModeObserve || d.Verdict == UnknownRelease {
		return d
	}
	c.found("mode", "observe: nothing is touched")
	return Decision{Verdict: Observe, Reason: fmt.Sprintf("mode observe; it would have been %s: %s", d.Verdict, d.Reason)}
}

// narrow takes back a shed that would make things worse: when nothing else could
// carry the canary's traffic. The rollback goes on.
func (c Case) narrow(d Decision) Decision {
	if !d.Shed || c.Routing == nil || !c.Routing.Open() || c.own().Shed.tried() {
		return d
	}
	why := c.Routing.NoStable
	c.found("stable pods", "%s", cmp.Or(why, fmt.Sprintf("each would get %.1f times its load; BACKOUT_MAX_LOAD is %g", c.Routing.Load, c.Policy.MaxLoad)))
	if why == "" && c.Routing.Load > c.Policy.MaxLoad {
		why = fmt.Sprintf("without the canary each stable pod would get %.1f times its load, more than %g", c.Routing.Load, c.Policy.MaxLoad)
	}
	if why == "" {
		return d
	}
	d.Reason = why + "; the weight is left as it is; " + d.Reason
	d.Verdict, d.Shed, d.Hold = NoStable, false, false
	if !d.Rollback {
		d.People, d.Waits = true, true
		d.Do = cmp.Or(d.Do, c.byHand())
	}
	return d
}

// own returns the accused revision's record; an empty one if there is none.
func (c Case) own() *Record {
	for i := range c.Records {
		if c.Records[i].UID == c.History.Accused().UID {
			return &c.Records[i]
		}
	}
	return &Record{}
}

// with returns the case with r in the place of what was stored of it.
func (c Case) with(r Record) Case {
	records := make([]Record, 0, len(c.Records)+1)
	for _, other := range c.Records {
		if other.UID != r.UID {
			records = append(records, other)
		}
	}
	c.Records = append(records, r)
	c.Accusations = r.Accusations
	return c
}

// alive reports whether r is about this life of the release: its revision is
// still in the history under the same UID.
func (c Case) alive(r *Record) bool {
	rev, ok := c.History.Named(r.Revision)
	return ok && rev.UID == r.UID
}
