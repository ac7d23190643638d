package rollback

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// permit says how much of what is asked may be done to the accused revision.
func (c Case) permit(f finding) Decision {
	accused := c.History.Accused()
	owner := c.managedBy()
	c.found("owner", "%s", cmp.Or(owner.name(), "no other tool manages the release, as far as is known"))
	switch {
	case owner.Weights:
		return Decision{
			Verdict: Managed, People: true, Do: owner.Do,
			Reason: fmt.Sprintf("%s (%s) sets the canary's weight itself; it is left alone", owner.Tool, owner.Object),
		}
	case f.level == LevelShed:
		return Decision{
			Verdict: Act, Shed: true, Hold: true, Do: c.lift(),
			Reason: cmp.Or(f.by, "the alert") + " asks for the canary to be taken out of the traffic",
		}
	case owner.Tool != "":
		d := c.hold(Managed, fmt.Sprintf("%s (%s) owns the release and would undo a rollback", owner.Tool, owner.Object))
		d.Do = owner.Do
		return d
	case f.verdict == Unknown && !f.again.IsZero():
		return Decision{Verdict: Unknown, Shed: true, Reason: f.reason}
	case f.verdict == Unknown:
		return c.hold(Unknown, fmt.Sprintf("%s; for %s", f.reason, c.Policy.ConfirmLimit))
	case accused.Status.Pending():
		return c.busy(accused)
	case accused.Deployed.IsZero():
		return c.hold(NoTarget, fmt.Sprintf("what Helm stored about revision %d cannot be read, so nothing can be compared with it", accused.Number))
	}
	if d, ok := c.recent(accused); ok {
		return d
	}
	return c.aim(accused)
}

// recent holds what was changed by backout a moment ago, and what was good for
// too long to blame the revision.
func (c Case) recent(accused Revision) (Decision, bool) {
	maker, own := c.maker(accused)
	if own {
		c.found("own", "revision %d was made by backout, from revision %d", accused.Number, maker)
		return c.hold(Own, fmt.Sprintf("revision %d is backout's own rollback of revision %d", accused.Number, maker)), true
	}
	last, before := c.lastRollback()
	if before {
		c.found("cooldown", "rolled back %s ago; BACKOUT_COOLDOWN is %s", brief(c.Now.Sub(last)), c.Policy.Cooldown)
	} else {
		c.found("cooldown", "not rolled back before, as far as is recorded; BACKOUT_COOLDOWN is %s", c.Policy.Cooldown)
	}
	if before && c.Now.Sub(last) < c.Policy.Cooldown {
		return c.hold(Cooldown, fmt.Sprintf("the release was rolled back at %s, less than %s ago", last.Format(time.RFC3339), c.Policy.Cooldown)), true
	}
	c.found("bake", "revision %d is %s old; BACKOUT_BAKE is %s", accused.Number, brief(c.Now.Sub(accused.Deployed)), c.Policy.Bake)
	if c.Now.Sub(accused.Deployed) > c.Policy.Bake {
		return c.hold(Baked, fmt.Sprintf("revision %d has been running since %s, for more than %s", accused.Number, accused.Deployed.Format(time.RFC3339), c.Policy.Bake)), true
	}
	return Decision{}, false
}

// aim names the revision to go back to, unless going there would do harm.
func (c Case) aim(accused Revision) Decision {
	target, ok := c.target()
	if !ok {
		c.found("target", "none of the older revisions")
		return c.hold(NoTarget, "no older revision was good and has other content")
	}
	c.found("target", "revision %d, the newest good one with other content", target.Number)
	if c.own().Checked == target.Number {
		c.found("danger", "%s", c.own().outlook(c.Policy))
	}
	if check := c.own().Check; check != nil && check.Failed && c.own().Checked != target.Number {
		return c.hold(Unsafe, fmt.Sprintf("whether going back to revision %d is safe could not be found out: %s", target.Number, check.Error))
	}
	if harm := c.own().harm(target.Number, c.Policy); len(harm) > 0 {
		return c.hold(Unsafe, fmt.Sprintf("going back to revision %d is not safe: %s", target.Number, strings.Join(harm, "; ")))
	}
	return Decision{
		Verdict: Act, Shed: true, Rollback: true, Target: target.Number,
		Reason: fmt.Sprintf("revision %d is accused; revision %d is the newest good one with other content", accused.Number, target.Number),
	}
}

// maxHarm bounds how many dangers a reason names.
const maxHarm = 5

// harm names what is dangerous about going back to the target and not allowed.
func (r *Record) harm(target int, p Policy) []string {
	if r.Checked != target {
		return nil
	}
	var harm []string
	for _, d := range r.Dangers {
		switch {
		case p.Allowed(d):
		case len(harm) == maxHarm:
			return append(harm, "and more")
		default:
			harm = append(harm, d.What)
		}
	}
	return harm
}

// outlook says what the look ahead found.
func (r *Record) outlook(p Policy) string {
	if len(r.Dangers) == 0 {
		return "none found"
	}
	texts := make([]string, 0, len(r.Dangers))
	for _, d := range r.Dangers {
		if p.Allowed(d) {
			texts = append(texts, d.What+" (allowed by BACKOUT_ALLOW)")
			continue
		}
		texts = append(texts, d.What)
	}
	return strings.Join(texts, "; ")
}

// name tells the owner in a few words; "" if there is none.
func (o Owner) name() string {
	if o.Tool == "" {
		return ""
	}
	return fmt.Sprintf("%s manages it by %s", o.Tool, o.Object)
}

// managedBy returns the tool that owns the release, by what its manifest, the
// look ahead or the live route says.
func (c Case) managedBy() Owner {
	owners := []Owner{c.History.Accused().Owner, c.own().Owner}
	if c.Routing != nil {
		owners = append(owners, c.Routing.Owner)
	}
	var found Owner
	for _, o := range owners {
		if found.Tool == "" || o.Weights {
			found = o
		}
	}
	return found
}

func (c Case) busy(accused Revision) Decision {
	d := Decision{Verdict: Busy, Shed: true, Waits: true}
	d.Reason = fmt.Sprintf("revision %d is %s", accused.Number, accused.Status)
	if !accused.Deployed.IsZero() && c.Now.Sub(accused.Deployed) > c.Policy.OperationLimit {
		d.Reason += fmt.Sprintf(" for more than %s: it looks stuck", c.Policy.OperationLimit)
		d.People, d.Do = true, c.byHand()
	}
	return d
}

// hold takes the canary out of the traffic and leaves the rest to a person.
func (c Case) hold(v Verdict, reason string) Decision {
	return Decision{Verdict: v, Shed: true, Hold: true, People: true, Reason: reason, Do: c.byHand()}
}

// byHand is the command with which a person would finish what backout does not.
func (c Case) byHand() string {
	if target, ok := c.target(); ok {
		return fmt.Sprintf("helm rollback %s %d -n %s", c.Key.Release, target.Number, c.Key.Namespace)
	}
	return fmt.Sprintf("helm history %s -n %s", c.Key.Release, c.Key.Namespace)
}

// lift is the command that gives a held canary its weight back.
func (c Case) lift() string { return "backout release " + c.Key.String() }

// maker returns the accused revision of the record whose rollback made r.
func (c Case) maker(r Revision) (int, bool) {
	for i := range c.Records {
		if rec := &c.Records[i]; c.alive(rec) && (rec.Made == r.Number || rec.UID == r.Claim) {
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
