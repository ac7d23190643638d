package rollback

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"
)

// limit returns the decision to do as much about the newest revision as the signals
// request and backout may do.
func (c Case) limit(a Assessment) Decision {
	newest := c.History.Newest()
	owner := c.managedBy()
	if newest.Canary != "" {
		c.trace("canary", "%s", newest.Canary)
	}
	c.trace("owner", "%s", cmp.Or(owner.Describe(), "no other tool manages the release, as far as backout knows"))
	switch {
	case owner.SetsWeights:
		return Decision{
			Verdict: Managed, NeedsHelp: true, Command: c.commandOf(owner),
			Reason: fmt.Sprintf("%s (%s) sets the canary's weight; backout leaves the release to it", owner.Tool, owner.Object),
		}
	case a.level == LevelShed:
		return Decision{
			Verdict: Act, Shed: true, Hold: true, Command: c.Key.UnholdCommand(),
			Reason: "the alert asks to hold the canary at zero",
		}
	case owner.Tool != "":
		d := c.hold(Managed, fmt.Sprintf("%s (%s) owns the release and would undo a rollback", owner.Tool, owner.Object))
		d.Command = c.commandOf(owner)
		return d
	case a.Verdict == Unknown && !a.recheckAt.IsZero():
		return Decision{Verdict: Unknown, Shed: true, Reason: a.reason}
	case a.Verdict == Unknown:
		return c.hold(Unknown, fmt.Sprintf("%s; backout tried for %s", a.reason, c.Policy.ConfirmLimit))
	case newest.Unreadable != "":
		return c.holdUnreadable(newest)
	case newest.Status.Pending():
		return c.busy(newest)
	case len(c.Unfinished) > 0 && c.Unfinished[0].Status.Pending() && c.Unfinished[0].Claim != newest.UID:
		return c.busyAbove(c.Unfinished[0])
	case newest.Deployed.IsZero():
		return c.hold(NoTarget, fmt.Sprintf("the data that Helm stores about revision %d cannot be read, so no revision can be compared with it", newest.Number))
	}
	if d, ok := c.holdByAge(newest); ok {
		return d
	}
	return c.chooseTarget(newest)
}

// holdByAge returns a hold instead of a rollback for a revision that backout itself made,
// whose release was rolled back within the cooldown, or that is older than the bake
// window.
func (c Case) holdByAge(newest Revision) (Decision, bool) {
	from, own := c.madeBy(newest)
	if own {
		c.trace("own rollback", "backout made revision %d by rolling back revision %d", newest.Number, from)
		return c.hold(Own, fmt.Sprintf("revision %d is backout's own rollback of revision %d", newest.Number, from)), true
	}
	last, before := c.lastRollback()
	if before {
		c.trace("cooldown", "rolled back %s ago; BACKOUT_COOLDOWN is %s", Round(c.Now.Sub(last)), c.Policy.Cooldown)
	} else {
		c.trace("cooldown", "no earlier rollback on record; BACKOUT_COOLDOWN is %s", c.Policy.Cooldown)
	}
	if before && c.Now.Sub(last) < c.Policy.Cooldown {
		return c.hold(Cooldown, fmt.Sprintf("backout rolled the release back at %s, less than %s ago", last.Format(time.RFC3339), c.Policy.Cooldown)), true
	}
	c.trace("bake", "revision %d is %s old; BACKOUT_BAKE is %s", newest.Number, Round(c.Now.Sub(newest.Deployed)), c.Policy.Bake)
	if c.Now.Sub(newest.Deployed) > c.Policy.Bake {
		return c.hold(Baked, fmt.Sprintf("revision %d has been running since %s, for more than %s", newest.Number, newest.Deployed.Format(time.RFC3339), c.Policy.Bake)), true
	}
	return Decision{}, false
}

// chooseTarget returns the rollback to the target, or a hold if there is no target or the
// rollback would do harm.
func (c Case) chooseTarget(newest Revision) Decision {
	target, ok := c.target()
	if !ok {
		c.trace("target", "none of the older revisions")
		return c.hold(NoTarget, "no older revision is good and has different content")
	}
	c.trace("target", "revision %d, %s%s", target.Number, target.chosenFor(newest), sameImages(target, newest))
	if r, ok := c.History.unreadableSince(target); ok {
		return c.hold(Unsafe, fmt.Sprintf("revision %d, which is newer than revision %d, cannot be read: it may be the last good one, and the hooks of its upgrade are unknown; %s", r.Number, target.Number, r.Unreadable))
	}
	r := c.record()
	if r.PreflightTarget == target.Number {
		c.trace("danger", "%s", r.describeDangers(c.Policy))
	}
	if r.Preflight != nil && r.Preflight.Failed && r.PreflightTarget != target.Number {
		return c.hold(Unsafe, fmt.Sprintf("the preflight of a rollback to revision %d failed: %s", target.Number, r.Preflight.Error))
	}
	if dangers := r.disallowedDangers(target.Number, c.Policy); len(dangers) > 0 {
		return c.hold(Unsafe, fmt.Sprintf("a rollback to revision %d is not safe: %s", target.Number, strings.Join(dangers, "; ")))
	}
	d := Decision{
		Verdict: Act, Shed: true, Rollback: true, Target: target.Number, SameImages: target.runsTheSame(newest),
		Hold:   target.PromotedBy(newest),
		Reason: fmt.Sprintf("an alert fires for revision %d; revision %d is %s", newest.Number, target.Number, target.chosenFor(newest)) + sameImages(target, newest),
	}
	if len(c.Unfinished) > 0 && c.Unfinished[0].Claim != newest.UID {
		d.NeedsHelp, d.Command = true, c.manualCommand()
		d.Reason = fmt.Sprintf("revision %d failed, and revision %d may still run; %s", c.Unfinished[0].Number, newest.Number, d.Reason)
	}
	return d
}

// holdUnreadable holds a revision of which backout cannot read what it runs.
func (c Case) holdUnreadable(newest Revision) Decision {
	d := c.hold(NoTarget, fmt.Sprintf("revision %d cannot be read, so no revision can be compared with it: %s", newest.Number, newest.Unreadable))
	d.Command = c.Key.describeSecretCommand(newest.Number)
	return d
}

// unreadableSince returns a revision older than the newest and newer than the target that
// cannot be read, and whether there is one.
func (h History) unreadableSince(target Revision) (Revision, bool) {
	for _, r := range h.Older() {
		if r.Number > target.Number && r.Unreadable != "" {
			return r, true
		}
	}
	return Revision{}, false
}

// describeSecretCommand shows status, labels and size of the Secret in which Helm stores a
// revision, without its data.
func (k Key) describeSecretCommand(revision int) Command {
	return newCommand("kubectl", "describe", "secret", fmt.Sprintf("sh.helm.release.v1.%s.v%d", k.Release, revision), "-n", k.Namespace)
}

// maxDangersNamed bounds how many dangers a reason names.
const maxDangersNamed = 5

// disallowedDangers returns the dangers of a rollback to the target that the policy does
// not allow.
func (r *Record) disallowedDangers(target int, p Policy) []string {
	if r.PreflightTarget != target {
		return nil
	}
	var named []string
	for _, d := range r.Dangers {
		switch {
		case p.Allowed(d):
		case len(named) == maxDangersNamed:
			return append(named, "and more")
		default:
			named = append(named, d.What)
		}
	}
	return named
}

// describeDangers returns what the preflight found.
func (r *Record) describeDangers(p Policy) string {
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

// managedBy returns the tool that owns the release according to its manifest, the
// preflight or the live routes. One that sets weights comes first.
func (c Case) managedBy() Owner {
	owners := []Owner{c.History.Newest().Owner, c.record().Owner}
	if c.Routing != nil {
		owners = append(owners, c.Routing.Owner)
	}
	var found Owner
	for _, o := range owners {
		if found.Tool == "" || o.SetsWeights {
			found = o
		}
	}
	return found
}

// commandOf returns the command of an owner, with the target in place of the revision that it
// leaves to the operator. Without a target there is nothing to go back to.
func (c Case) commandOf(o Owner) Command {
	if !o.Command.leavesRevision() {
		return o.Command
	}
	if target, ok := c.target(); ok {
		return o.Command.withRevision(target.Number)
	}
	return c.Key.HelmHistoryCommand()
}

// busy waits for the Helm operation in flight. It calls for help if that looks stuck, and at once
// where the shed has found nothing to set to zero: until the operation ends, users get the suspect.
func (c Case) busy(newest Revision) Decision {
	d := Decision{Verdict: Busy, Shed: true, Waits: true}
	d.Reason = fmt.Sprintf("revision %d is %s", newest.Number, newest.Status)
	own := c.record()
	switch {
	case !newest.Deployed.IsZero() && c.Now.Sub(newest.Deployed) > c.Policy.OperationLimit:
		d.Reason = fmt.Sprintf("revision %d has been %s for more than %s: the Helm operation looks stuck", newest.Number, newest.Status, c.Policy.OperationLimit)
		d.NeedsHelp, d.Command = true, c.manualCommand()
	case own.ShedFoundNothing():
		d.Reason += "; the release has no canary to take out of rotation, so it keeps its traffic until the Helm operation ends"
		d.NeedsHelp, d.Command = true, c.manualCommand()
	}
	return d
}

// busyAbove is busy for a suspect that still runs while a Helm operation replaces it. It calls
// for help at once: the client that runs the operation may not know that what it replaces
// fails, and backout goes no further back until the operation has ended.
func (c Case) busyAbove(pending Revision) Decision {
	d := c.busy(pending)
	d.Reason = fmt.Sprintf("an alert fires for revision %d, which may still run; %s", c.History.Newest().Number, d.Reason)
	d.NeedsHelp, d.Command = true, c.manualCommand()
	return d
}

// hold takes the canary out of rotation and leaves the rest to an operator.
func (c Case) hold(v Verdict, reason string) Decision {
	if target, ok := c.target(); ok {
		reason += sameImages(target, c.History.Newest())
	}
	return Decision{Verdict: v, Shed: true, Hold: true, NeedsHelp: true, Reason: reason, Command: c.manualCommand()}
}

// manualCommand is the command with which an operator does what backout does not: the
// rollback to the target, in spite of the dangers that the preflight found, or, without a
// target, a look at the revisions.
func (c Case) manualCommand() Command {
	target, ok := c.target()
	if !ok {
		return c.Key.HelmHistoryCommand()
	}
	plain := c.Key.HelmRollbackCommand(target.Number)
	if newest := c.History.Newest(); newest.Status.Pending() || slices.ContainsFunc(c.Unfinished, func(r Revision) bool { return r.Status.Pending() }) || newest.Unreadable != "" || newest.Deployed.IsZero() {
		return plain // the guards of backout's own command refuse such a revision
	}
	return cmp.Or(c.Key.RollbackCommand(target.Number, c.record().allowing(target.Number)...), plain)
}

// allowing returns the kinds of dangers that the operator of a rollback to the target has to
// allow.
func (r *Record) allowing(target int) []DangerKind {
	var kinds []DangerKind
	for _, d := range r.Dangers {
		if r.PreflightTarget == target {
			kinds = append(kinds, d.Kind)
		}
	}
	slices.Sort(kinds)
	return slices.Compact(kinds)
}

// madeBy returns the suspect revision of the record whose rollback made r.
func (c Case) madeBy(r Revision) (int, bool) {
	for i := range c.Records {
		if rec := &c.Records[i]; c.current(rec) && (rec.UID == r.Claim || rec.Made == r.Number && r.Claim == "") {
			return rec.Revision, true
		}
	}
	return 0, false
}

// lastRollback returns when the newest rollback of this installation of the release was
// started.
func (c Case) lastRollback() (time.Time, bool) {
	var last time.Time
	for i := range c.Records {
		rec := &c.Records[i]
		if rec.Rollback != nil && rec.Revision < c.History.Newest().Number && c.current(rec) && rec.Rollback.Started.After(last) {
			last = rec.Rollback.Started
		}
	}
	return last, !last.IsZero()
}
