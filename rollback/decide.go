package rollback

import (
	"fmt"
	"time"
)

// Case is everything that a decision depends on.
type Case struct {
	// Accusations are those of the accused revision's record, with the new one.
	Accusations []Accusation
	// History is the release's, as just read.
	History History
	// Records are all of the release's, of every life; the accused revision's
	// own among them once it exists.
	Records []Record
	Policy  Policy
	Now     time.Time
}

// Decide says what is to be done about the accused revision, the newest one of
// the history. It is pure: the same case always gives the same decision.
//
// Decide does not know whether a step was already started; the engine never
// takes a started step back.
func Decide(c Case) Decision {
	d := c.decide()
	d.At = c.Now
	return d
}

func (c Case) decide() Decision {
	accused := c.History.Accused()
	if accused.Status == StatusUninstalled || accused.Status == StatusUninstalling {
		return Decision{Verdict: UnknownRelease, Reason: "the release is " + string(accused.Status)}
	}
	if held := c.own().Decision(); held.Verdict.Effect().Hold {
		return c.observed(held)
	}
	f := c.strongest()
	if f.verdict != Act {
		return Decision{Verdict: f.verdict, Reason: f.reason + f.note, Again: f.again}
	}
	d := c.permit(f.level)
	d.Reason += f.note
	d.Again = f.again
	return c.observed(d)
}

// observed is the decision in mode act, and in mode observe what it would have
// been.
func (c Case) observed(d Decision) Decision {
	if c.Policy.Mode != ModeObserve {
		return d
	}
	return Decision{Verdict: Observe, Reason: fmt.Sprintf("mode observe; it would have been %s: %s", d.Verdict, d.Reason)}
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

// finding is what one accusation amounts to by itself.
type finding struct {
	verdict Verdict
	level   Level
	reason  string
	// note tells of a label that did not fit and did not decide.
	note  string
	again time.Time
}

// strongest weighs every accusation by itself and returns the one that allows
// most. If one that settles asks for more, the decision is taken again then.
func (c Case) strongest() finding {
	best := finding{verdict: Stale, reason: "nothing accuses this revision any more"}
	var settling finding
	for i, a := range c.Accusations {
		f := c.weigh(a)
		if i == 0 || f.rank() > best.rank() {
			best = f
		}
		if f.verdict == Settling && f.level.rank() > settling.level.rank() {
			settling = f
		}
	}
	if best.verdict == Act && settling.level.rank() > best.level.rank() {
		best.again = settling.again
	}
	return best
}

// rank orders findings: what leads to more being done comes first.
func (f finding) rank() int {
	switch {
	case f.verdict == Act:
		return 10 + f.level.rank()
	case f.verdict == Settling:
		return 9
	case f.verdict == Observe:
		return 8
	case f.verdict == Handled:
		return 7
	default:
		return 0
	}
}

// weigh decides whether one accusation is about the accused revision at all.
func (c Case) weigh(a Accusation) finding {
	accused := c.History.Accused()
	if r, ok := c.handledBy(a); ok {
		return finding{verdict: Handled, reason: fmt.Sprintf("this alert was already acted upon at revision %d", r)}
	}
	if a.Revision != 0 && a.Revision != accused.Number {
		return finding{verdict: Stale, reason: fmt.Sprintf("the alert is about revision %d, the release is at %d", a.Revision, accused.Number)}
	}
	if other, ok := c.owner(a.Version); ok && !accused.Is(a.Version) {
		return finding{verdict: Stale, reason: fmt.Sprintf("version %s belongs to revision %d, the release is at %d", a.Version, other, accused.Number)}
	}
	var note string
	if a.Version != "" && !accused.Is(a.Version) {
		note = fmt.Sprintf("; no revision's canary is known as version %s, so time decides", a.Version)
	}
	if !c.began(a) && c.Now.Before(c.settled()) {
		return finding{
			verdict: Settling, level: a.Level, again: c.settled(), note: note,
			reason: fmt.Sprintf("the alert began before revision %d was deployed", accused.Number),
		}
	}
	if !a.Resolved.IsZero() && !c.actedOn(a) {
		return finding{verdict: Stale, reason: "the alert was resolved before it could be acted upon"}
	}
	if a.Level == LevelObserve {
		return finding{verdict: Observe, reason: "the alert asks to observe only", note: note}
	}
	return finding{verdict: Act, level: a.Level, note: note}
}

// actedOn reports whether a, resolved by now, was firing against this revision
// when the first step was started: the shed itself quiets an alert, so its
// resolve calls nothing back.
func (c Case) actedOn(a Accusation) bool {
	own := c.own()
	return own.Claimed() && own.Holds(a.Episode()) && c.began(a) && !a.Resolved.Before(own.claimedAt())
}

// began reports whether the accused revision can have caused a: it is named by
// the alert, or was there when the alert began.
func (c Case) began(a Accusation) bool {
	accused := c.History.Accused()
	return a.Revision == accused.Number || accused.Is(a.Version) || !a.StartsAt.Before(accused.Deployed)
}

// owner returns the newest older revision whose canary is known by version.
func (c Case) owner(version string) (int, bool) {
	for _, r := range c.History.Older() {
		if r.Is(version) {
			return r.Number, true
		}
	}
	return 0, false
}

// settled is when the accused revision has been there for long enough for what
// came before it to have left the rules' windows.
func (c Case) settled() time.Time { return c.History.Accused().Deployed.Add(c.Policy.Settle) }

// handledBy returns the older revision in whose record this very episode led to
// a step. Once the accused revision has settled, an episode that still goes on
// is no longer the older one's.
func (c Case) handledBy(a Accusation) (int, bool) {
	if !c.Now.Before(c.settled()) {
		return 0, false
	}
	for i := range c.Records {
		r := &c.Records[i]
		if r.Revision < c.History.Accused().Number && r.Claimed() && c.alive(r) && r.Holds(a.Episode()) {
			return r.Revision, true
		}
	}
	return 0, false
}

// alive reports whether r is about this life of the release: its revision is
// still in the history under the same UID.
func (c Case) alive(r *Record) bool {
	rev, ok := c.History.Named(r.Revision)
	return ok && rev.UID == r.UID
}

// permit says how much of what is asked may be done to the accused revision.
func (c Case) permit(level Level) Decision {
	accused := c.History.Accused()
	if level == LevelShed {
		return Decision{Verdict: Act, Shed: true, Reason: "the alert asks for the canary to be taken out of the traffic"}
	}
	if accused.Status.Pending() {
		return c.busy(accused)
	}
	if accused.Deployed.IsZero() {
		return hold(NoTarget, fmt.Sprintf("what Helm stored about revision %d cannot be read, so nothing can be compared with it", accused.Number))
	}
	if maker, ok := c.maker(accused); ok {
		return hold(Own, fmt.Sprintf("revision %d is backout's own rollback of revision %d", accused.Number, maker))
	}
	if last, ok := c.lastRollback(); ok && c.Now.Sub(last) < c.Policy.Cooldown {
		return hold(Cooldown, fmt.Sprintf("the release was rolled back at %s, less than %s ago", last.Format(time.RFC3339), c.Policy.Cooldown))
	}
	if c.Now.Sub(accused.Deployed) > c.Policy.Bake {
		return hold(Baked, fmt.Sprintf("revision %d has been running since %s, for more than %s", accused.Number, accused.Deployed.Format(time.RFC3339), c.Policy.Bake))
	}
	target, ok := Target(c.History, Condemned(c.Records))
	if !ok {
		return hold(NoTarget, "no older revision was good and has other content")
	}
	return Decision{
		Verdict: Act, Shed: true, Rollback: true, Target: target.Number,
		Reason: fmt.Sprintf("revision %d is accused; revision %d is the newest good one with other content", accused.Number, target.Number),
	}
}

func (c Case) busy(accused Revision) Decision {
	d := Decision{Verdict: Busy, Shed: true}
	d.Reason = fmt.Sprintf("revision %d is %s", accused.Number, accused.Status)
	if c.Now.Sub(accused.Deployed) > c.Policy.OperationLimit {
		d.Reason += fmt.Sprintf(" for more than %s: it looks stuck; look with `helm history`, then `helm rollback` by hand", c.Policy.OperationLimit)
	}
	return d
}

func hold(v Verdict, reason string) Decision {
	return Decision{Verdict: v, Shed: true, Reason: reason}
}

// maker returns the accused revision of the record whose rollback made r.
func (c Case) maker(r Revision) (int, bool) {
	for i := range c.Records {
		if rec := &c.Records[i]; rec.Made == r.Number && c.alive(rec) {
			return rec.Revision, true
		}
	}
	return 0, false
}

// lastRollback returns when the newest rollback of this life of the release was
// started.
func (c Case) lastRollback() (time.Time, bool) {
	var last time.Time
	for i := range c.Records {
		rec := &c.Records[i]
		if rec.Rollback != nil && rec.Revision < c.History.Accused().Number && c.alive(rec) && rec.Rollback.Started.After(last) {
			last = rec.Rollback.Started
		}
	}
	return last, !last.IsZero()
}
