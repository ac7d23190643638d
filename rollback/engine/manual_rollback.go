package engine

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// RollbackOrder is what an operator orders with `backout rollback`.
type RollbackOrder struct {
	Key rollback.Key
	// To is the target, 0 for the one that backout would choose.
	To int
	// Allow are the kinds of dangers that the operator accepts.
	Allow []rollback.DangerKind
	// HookTimeout limits each hook of Helm, PodTimeout the wait for the target's pods.
	HookTimeout, PodTimeout time.Duration
	// Print is called with a line about each step.
	Print func(line string)
}

// manualRun is one run of the command. A run goes on where an earlier one has stopped: the
// record and Helm's history say how far that got.
type manualRun struct {
	Manual
	RollbackOrder

	// id distinguishes this process from another one of the same operator.
	id string
	// other is the last report of another run.
	other   progressReport
	suspect rollback.Revision
	target  int
	// made is the revision that Helm has made, 0 before.
	made int
	// held says that the canary's weight is zero until the target's pods are ready.
	held bool
	// zero says that it was set to zero and nothing has ended that; untouched that this run has
	// failed before it wrote anything but its claim.
	zero, untouched bool
	// promoted says that the target's canary runs the suspect's pods, and stays at zero.
	promoted bool
}

// RollBack rolls the release back under the operator's own rights as backout does for an
// alert: behind the same guards, with the weight at zero until the target's pods are ready. The
// claim in the record makes a running backout leave the release alone. If RollBack returns an
// error after it has set the weight to zero, that stays zero, in a hold, and the same order goes on
// from there. It changes nothing if there is no target, if the rollback has a danger that is not
// accepted, if another Helm operation or a rollback of backout is in progress, or if another
// tool sets the weight; and if an earlier run has finished the order, which is no error.
func (m Manual) RollBack(ctx context.Context, o RollbackOrder) error {
	r := &manualRun{Manual: m, RollbackOrder: o, id: rand.Text()}
	done, err := r.begin(ctx)
	if err != nil {
		return fmt.Errorf("roll %s back: %w", o.Key, err)
	}
	if done {
		return nil
	}
	if err := r.carryOut(ctx); err != nil {
		return fmt.Errorf("roll %s back to revision %d: %w%s; go on with: %s", o.Key, r.target, err, r.weightNow(), o.Key.RollbackCommand(r.target, o.Allow...).WithTrack(r.suspect.TrackLabel))
	}
	return nil
}

// weightNow says where an interrupted run has left the weight.
func (r *manualRun) weightNow() string {
	if r.held && r.zero {
		return "; the canary's weight stays zero"
	}
	return ""
}

// begin finds out what is to be done, and claims it in the record. It reports whether nothing is.
func (r *manualRun) begin(ctx context.Context) (done bool, err error) {
	c, err := r.read(ctx)
	if err != nil {
		return false, err
	}
	newest := c.History.Newest()
	if r.finishedBefore(newest, c.Records) {
		r.Print(fmt.Sprintf("%s is rolled back to revision %d already, as revision %d; to go back further, name a revision with --to", r.Key, r.target, newest.Number))
		return true, nil
	}
	if newest.Status.Pending() {
		if c, err = r.recover(ctx, c, newest); err != nil {
			return false, err
		}
	}
	if err := r.choose(c); err != nil {
		return false, err
	}
	if err := knowsCanary(r.suspect, c.Records); err != nil {
		return false, err
	}
	r.holdsTarget(c.History)
	if r.made == 0 {
		if err := r.check(ctx, c.History); err != nil {
			return false, err
		}
	}
	return false, r.claim(ctx)
}

// read reads the release, once no other run of the command works on it.
func (r *manualRun) read(ctx context.Context) (rollback.Case, error) {
	for waited := false; ; waited = true {
		history, err := r.Releases.History(ctx, r.Key, rollback.Stored)
		if err != nil {
			return rollback.Case{}, err
		}
		records, err := r.notRollingBack(ctx, r.Key, "roll back")
		if err != nil {
			return rollback.Case{}, err
		}
		claim, claimed := rollback.ManualClaim(history, records)
		if !claimed || !r.inProgress(claim.Manual) {
			return rollback.Case{Key: r.Key, History: history, Records: records, Now: time.Now().UTC()}, nil
		}
		if !waited {
			r.Print(fmt.Sprintf("%s rolls it back already; waiting until that command ends, or has not reported for %s", claim.Manual.Operator, manualAlive))
		}
		if err := pauseFor(ctx, recheckInterval); err != nil {
			return rollback.Case{}, err
		}
	}
}

// recover marks the pending revision of an interrupted rollback as failed. That of another
// client is an error.
func (r *manualRun) recover(ctx context.Context, c rollback.Case, pending rollback.Revision) (rollback.Case, error) {
	if pending.Claim == "" {
		return c, fmt.Errorf("revision %d is %s: another Helm operation is in progress; wait until it ends, or look with: %s", pending.Number, pending.Status, r.Key.HelmHistoryCommand().In(pending.Storage))
	}
	if err := r.Releases.Recover(ctx, r.Key, pending); err != nil {
		return c, err
	}
	r.Print(fmt.Sprintf("revision %d, which an interrupted rollback left pending, is marked as failed", pending.Number))
	var err error
	c.History, err = r.Releases.History(ctx, r.Key, rollback.Stored)
	return c, err
}

// choose finds the suspect, and the target or the revision that an earlier run has made.
func (r *manualRun) choose(c rollback.Case) error {
	newest := c.History.Newest()
	r.suspect = newest
	claim, claimed := rollback.ManualClaim(c.History, c.Records)
	i := slices.IndexFunc(c.History, func(rev rollback.Revision) bool { return newest.Claim != "" && rev.UID == newest.Claim })
	switch {
	case claimed:
		r.suspect, _ = c.History.Named(claim.Revision)
	case i >= 0 && newest.Status == rollback.StatusFailed:
		r.suspect = c.History[i]
	default:
		r.suspect = belowFailed(c.History, r.To)
	}
	if claimed && newest.UID != r.suspect.UID && newest.Status == rollback.StatusDeployed {
		r.made, r.target = newest.Number, claim.Manual.Target
		r.Print(fmt.Sprintf("Helm has made revision %d already", r.made))
		return nil
	}
	if c.History, _ = c.History.From(r.suspect.UID); c.History.Newest().UID != r.suspect.UID {
		return fmt.Errorf("revision %d: %w", newest.Number, rollback.ErrRevisionChanged)
	}
	target, note, err := c.ManualTarget(r.To)
	if err != nil {
		return err
	}
	r.target = target.Number
	r.Print(fmt.Sprintf("revision %d is rolled back to revision %d", r.suspect.Number, r.target))
	if note != "" {
		r.Print(fmt.Sprintf("note on revision %d: %s", r.target, note))
	}
	return nil
}

// belowFailed returns the deployed revision below the failed upgrades of other clients, if the
// operator names a target that is older than that; else the newest revision.
func belowFailed(h rollback.History, to int) rollback.Revision {
	for _, r := range h.Older() {
		if r.Status == rollback.StatusDeployed && to > 0 && to < r.Number {
			from, _ := h.From(r.UID)
			return from.Newest()
		}
	}
	return h.Newest()
}

// check finds out whether the weight can be held and the rollback be made. It changes nothing.
func (r *manualRun) check(ctx context.Context, history rollback.History) error {
	manifest, err := r.Releases.Manifest(ctx, r.Key, r.suspect.Number)
	if err != nil {
		return err
	}
	routing, err := r.Traffic.Observe(ctx, r.Key, manifest, rollback.Stored)
	if err != nil {
		return err
	}
	r.held = len(routing.Weights) > 0
	if r.held && routing.NoStable != "" && routing.Open() {
		r.held = false
		r.Print(routing.NoStable + "; the canary's weight stays as it is")
	}
	r.held = r.held || r.promoted
	plan, err := r.plan(ctx, history)
	if err != nil {
		return err
	}
	found, err := r.Releases.Preflight(ctx, plan)
	if err != nil {
		return err
	}
	owner := found.Owner.Stronger(routing.Owner)
	if owner.SetsWeights {
		return fmt.Errorf("%s (%s) sets the weight itself; run: %s", owner.Tool, owner.Object, owner.Command)
	}
	if owner.Tool != "" {
		r.Print(fmt.Sprintf("%s (%s) manages the release, and undoes the rollback unless it is suspended", owner.Tool, owner.Object))
	}
	return r.accepts(found.Dangers)
}

// accepts returns an error that names the dangers that the operator has not accepted.
func (r *manualRun) accepts(dangers []rollback.Danger) error {
	var refused []string
	allow := slices.Clone(r.Allow)
	for _, d := range dangers {
		if slices.Contains(r.Allow, d.Kind) {
			r.Print("accepted: " + d.What)
			continue
		}
		refused, allow = append(refused, d.What), append(allow, d.Kind)
	}
	if len(refused) == 0 {
		return nil
	}
	slices.Sort(allow)
	hint := "no option allows this; Helm alone does not look for it: " + r.Key.HelmRollbackCommand(r.target).In(r.suspect.Storage).String()
	if again := r.Key.RollbackCommand(r.target, slices.Compact(allow)...).WithTrack(r.suspect.TrackLabel); again != (rollback.Command{}) {
		hint = "to do it all the same: " + again.String()
	}
	return fmt.Errorf("it is not safe: %s; %s", strings.Join(refused, "; "), hint)
}
