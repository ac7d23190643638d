package rollback

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Decide says what backout does about the suspect, which is the newest revision of the
// history or the deployed one under it: see Case.AtSuspect. It is pure: the same case always
// gives the same decision.
//
// Decide does not know whether a step was already started; the engine never takes back a
// step that was started.
func Decide(c Case) Decision {
	c = c.AtSuspect()
	d := c.applyMode(c.requireStable(c.decide()))
	d.At, d.Reason = c.Now, Clip(d.Reason, maxRecordText)
	return d
}

// decide checks, in this order: whether the release exists, whether a hold or a pause
// decides, whether a signal is about the newest revision, whether so many releases have
// signals that the canaries are not the cause, and how much backout may do.
func (c Case) decide() Decision {
	newest := c.History.Newest()
	c.trace("release", "%s is at revision %d (Helm status %s)", c.Key, newest.Number, newest.Status)
	for _, r := range c.Unfinished {
		c.trace("unfinished", "revision %d is %s; revision %d may still run", r.Number, r.Status, newest.Number)
	}
	if newest.Status == StatusUninstalled || newest.Status == StatusUninstalling {
		return Decision{Verdict: UnknownRelease, Reason: "the release is " + string(newest.Status)}
	}
	if d, ok := c.decidedByHold(); ok {
		c.trace("hold", "an earlier hold of the revision decides")
		return d
	}
	paused := c.pausedBy()
	c.trace("pause", "%s", cmp.Or(paused, "not paused"))
	if paused != "" {
		return Decision{Verdict: Paused, Reason: paused}
	}
	a := c.strongest()
	if a.Verdict != Act && a.Verdict != Unknown {
		if d, ok := c.decidedByOperator(a); ok {
			c.trace("hold", "%s", d.Reason)
			return d
		}
		d := Decision{Verdict: a.Verdict, Reason: a.reason + a.notes(), RecheckAt: a.recheckAt, Waits: a.waits || !a.recheckAt.IsZero()}
		if a.poll {
			d.RecheckAt = time.Time{}
		}
		if a.missedRepeat {
			d.NeedsHelp, d.Command = true, c.manualCommand()
		}
		return d
	}
	c.trace("storm", "other releases with alerts within %s: %d; with this one, %d make a storm", c.Policy.StormWindow, c.Storm.Others, c.stormLeast())
	if c.stormy() {
		return c.duringStorm()
	}
	d := c.afterStorm(c.limit(a))
	d.Reason += a.notes()
	if !a.recheckAt.IsZero() {
		d.RecheckAt, d.Waits = a.recheckAt, true
	}
	return d
}

// decidedByHold returns the decision about a revision that was held before: a hold that
// began is final for its revision, and once an operator has lifted it, backout leaves
// the revision to the operator.
func (c Case) decidedByHold() (Decision, bool) {
	r := c.record()
	if r.Hold != nil && r.Hold.Lifted && r.Rollback == nil {
		return Decision{Verdict: Handled, Reason: fmt.Sprintf("the hold of revision %d has ended: %s", r.Revision, r.Hold.Reason)}, true
	}
	// A hold that an alert of level shed caused gives way to an alert of a stronger level.
	d := r.Decision()
	began := r.Shed.Tried() || r.Hold.Active()
	return d, d.Hold && (d.Verdict != Act && began || len(c.Signals) == 0)
}

// decidedByOperator returns the decision of the operator who ordered the hold of the
// revision, and whether there is one: it stays in force while no alert asks for more.
func (c Case) decidedByOperator(a Assessment) (Decision, bool) {
	r := c.record()
	d := r.Decision()
	ordered := d.Operator != "" || d.Hold && r.Hold.Active() && slices.ContainsFunc(r.Signals, ofOperator)
	if !ordered || r.Hold != nil && !r.Hold.Active() {
		return Decision{}, false
	}
	d.RecheckAt, d.Waits = a.recheckAt, !a.recheckAt.IsZero()
	return d, true
}

// applyMode returns d in mode act. In mode observe it returns a decision to do nothing
// that names d as the one of mode act.
func (c Case) applyMode(d Decision) Decision {
	if c.Policy.Mode != ModeObserve || d.Verdict == UnknownRelease {
		return d
	}
	c.trace("mode", "observe: backout changes nothing")
	return Decision{Verdict: Observe, Reason: fmt.Sprintf("mode observe; in mode act the verdict would be %s: %s", d.Verdict, d.Reason)}
}

// requireStable removes the shed from d where it would make things worse: nothing else
// could serve the canary's traffic, or the stable pods would get too much load. The
// rollback goes on.
func (c Case) requireStable(d Decision) Decision {
	if !d.Shed || c.Routing == nil || !c.Routing.Open() || c.record().Shed.Tried() && c.record().Shed.Operator == "" {
		return d
	}
	load := fmt.Sprintf("without the canary, each stable pod would get %.1f times its load; BACKOUT_MAX_LOAD is %g", c.Routing.Load, c.Policy.MaxLoad)
	c.trace("stable pods", "%s", cmp.Or(c.Routing.NoStable, load))
	why := c.Routing.NoStable
	if why == "" && c.Routing.Load > c.Policy.MaxLoad {
		why = load
	}
	if why == "" {
		return d
	}
	d.Reason = why + "; backout leaves the weight as it is; " + d.Reason
	d.Verdict, d.Shed, d.Hold = NoStable, false, d.Hold && d.Rollback
	if !d.Rollback {
		d.NeedsHelp, d.Waits = true, true
		if d.Command == (Command{}) || d.Command == c.Key.UnholdCommand() { // nothing is held
			d.Command = c.manualCommand()
		}
	}
	return d
}
