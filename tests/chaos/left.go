package chaos

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// left is what a run of the command that has ended early leaves behind.
type left struct {
	Facts

	// printed is what it has said, err how it has ended.
	printed string
	err     error
	// since is the number of backout's writes when the first run began.
	since int
}

// changed reports whether the command has changed more than its record.
func (l left) changed() bool {
	return l.Weight == "0" || l.Marked || len(l.Revisions) > firstRevisions
}

// done reports whether nothing was left to do.
func (l left) done() bool { return closedRecord(l.Facts) && l.Newest().rollback() }

// claimed reports whether the records say that an operator rolls the release back.
func claimed(f Facts) bool {
	return slices.ContainsFunc(f.Records, func(r rollback.Record) bool { return r.Closed.IsZero() && r.Manual.Active() })
}

const (
	// askLimit is how long after the patience backout may take to ask the team.
	askLimit = 40 * time.Second
	// firstRevisions is how many revisions a shop has.
	firstRevisions = 2
)

// checkLeft checks what is left behind while the command does not run: a zero has its hold, and
// nothing was changed without a claim.
func (r *Run) checkLeft(l left) {
	if (l.Weight == "0" || l.Marked) && !accounted(l.Facts) {
		r.breaks(RuleZero, "the command has ended early: the weight is %s, marked %t, and no open record accounts for it", l.Weight, l.Marked)
	}
	if l.err == nil && !l.done() {
		r.breaks(RuleEnds, "the command says that it has finished, which is not so: %s", l.printed)
	}
}

// leavesItAlone checks that backout touches nothing, even if an alert arrives now.
func (r *Run) leavesItAlone(ctx context.Context, l left) error {
	if !l.changed() || l.done() {
		return nil
	}
	if err := r.fire(ctx); err != nil {
		return err
	}
	sleep(ctx, idleFor)
	return r.checkLeftAlone(ctx, l)
}

// asksTheTeam waits until backout asks the team to run the command again. A claim that has changed
// nothing ends instead.
func (r *Run) asksTheTeam(ctx context.Context, l left) error {
	limit, cancel := context.WithTimeout(ctx, rollback.ManualPatience+askLimit)
	defer cancel()
	switch {
	case l.done(), !l.changed() && !claimed(l.Facts):
		return nil
	case !l.changed():
		if err := r.await(limit, func(f Facts) bool { return !claimed(f) }); err != nil {
			r.breaks(RuleAsks, "the claim of a command that has changed nothing does not end: %w", err)
		}
		return nil
	}
	if err := r.fire(ctx); err != nil {
		return err
	}
	if err := r.awaitCall(ctx); err != nil {
		r.breaks(RuleAsks, "%s after the command was killed, the team did not get it: %w", rollback.ManualPatience+askLimit, err)
	}
	return r.checkLeftAlone(ctx, l)
}

// awaitCall waits until the team gets the command. Each leader measures the patience itself: on a busy
// machine it may lose its Lease, and the next process begins again.
func (r *Run) awaitCall(ctx context.Context) error {
	for begun := time.Now(); ; {
		limit, cancel := context.WithDeadline(ctx, begun.Add(rollback.ManualPatience+askLimit))
		err := r.inbox.await(limit, "dev.backout.needs-help", fmt.Sprintf("backout rollback %s --to 1", r.command.release))
		cancel()
		last := r.replicas[0].lastStart()
		if err == nil || ctx.Err() != nil || !last.After(begun) {
			return err
		}
		begun = last
	}
}

// saysHowToGoOn checks the last words of a command that was stopped.
func (r *Run) saysHowToGoOn(_ context.Context, l left) error {
	if again := "go on with: backout rollback " + r.command.release; l.changed() && !l.done() && !strings.Contains(l.printed, again) {
		r.breaks(RuleAsks, "stopped, the command does not say how to go on: %s", l.printed)
	}
	return nil
}

// checkLeftAlone checks that backout has written nothing but records since the command began, and that
// what the command has left is still as it was.
func (r *Run) checkLeftAlone(ctx context.Context, l left) error {
	for _, w := range r.proxy.Writes()[l.since:] {
		if !strings.Contains(w.Path, "/configmaps") {
			r.breaks(RuleAlone, "backout writes %s", w)
		}
	}
	facts, err := r.observe(ctx)
	if err != nil {
		return err
	}
	l.Facts = facts
	r.checkLeft(l)
	if l.err != nil && !claimed(facts) {
		r.breaks(RuleAlone, "the claim of the command has ended")
	}
	return nil
}

// finished checks the end of a run that nothing has stopped.
func (r *Run) finished(printed string, err error) {
	if err != nil || !strings.Contains(printed, "is rolled back to revision 1") {
		r.breaks(RuleEnds, "the command does not finish: %w: %s", err, printed)
	}
}

// checkCommand checks that backout and the command have not both rolled back.
func checkCommand(_ context.Context, r *Run, f Facts) {
	if r.command == nil {
		return
	}
	writes := func(all []Write) bool {
		return slices.ContainsFunc(all, func(w Write) bool { return strings.Contains(w.Path, "/secrets/sh.helm.release.") })
	}
	if writes(r.proxy.Writes()) && writes(r.command.proxy.Writes()) {
		r.breaks(RuleOnce, "backout and the command have both written revisions")
	}
	byCommand := slices.ContainsFunc(f.Records, func(record rollback.Record) bool { return rolledBackByCommand(record) })
	if done, _ := f.Rollbacks(); r.commandDone && done > 0 && !byCommand {
		r.breaks(RuleRecord, "the command has rolled back, and no record says so")
	}
}

// tooLate reports whether the record is about an alert that came when the command had already made
// another revision: it is recorded, and no step is begun for it.
func (r *Run) tooLate(record rollback.Record) bool {
	recorded := slices.Contains([]rollback.Verdict{rollback.Paused, rollback.Stale}, record.Decision().Verdict)
	return r.command != nil && record.Revision > firstRevisions && recorded && !record.Claimed() && record.Hold == nil
}

// rolledBackByCommand reports whether the record says that an operator rolled the release back.
func rolledBackByCommand(record rollback.Record) bool {
	return record.Manual != nil && !record.Manual.Active() && record.Manual.Made > 0
}

// mismatchesOfCommand are those of a record whose release the command rolled back.
func mismatchesOfCommand(f Facts, record rollback.Record, claim func(what string, says, is any)) {
	m := record.Manual
	done, _ := f.Rollbacks()
	claim("rolled back by the command", true, done == 1)
	claim("rolled back by backout", record.Rollback.Succeeded(), false)
	claim("operator", m.Operator, operator)
	made := slices.IndexFunc(f.Revisions, func(v Revision) bool {
		return v.Number == m.Made && v.Status != "failed" && v.Description == fmt.Sprintf("Rollback to %d", m.Target)
	})
	claim(fmt.Sprintf("revision %d is the rollback to %d", m.Made, m.Target), true, made >= 0)
	claim("target", m.Target, 1)
	claim("weight is the target's again", !record.Closed.IsZero() && !record.Hold.Active(), lastWeight(f) == fmt.Sprint(percent))
}
