package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// Times of a rollback that a command carries out.
const (
	// manualBeat is how often the command reports in the record that it works.
	manualBeat = 5 * time.Second
	// manualAlive is how long another run of the command waits for the next report.
	manualAlive = 3 * manualBeat
)

// carryOut takes the steps. Meanwhile it reports progress; at an error it reports that there
// will be none, so that another run need not wait. A claim that has changed nothing ends then.
func (r *manualRun) carryOut(ctx context.Context) (err error) {
	working, stop := context.WithCancelCause(ctx)
	var beats sync.WaitGroup
	beats.Go(func() { r.beat(working, stop) })
	defer func() {
		stop(nil)
		beats.Wait()
		if err != nil {
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), recheckInterval)
			defer cancel()
			// Without it, another run waits until the progress is too old.
			_ = r.note(last, func(own *rollback.Record) {
				if own.Manual.ID = ""; r.untouched {
					abandon(own, "the canary could not be taken out of rotation")
				}
			})
		}
	}()
	if r.made == 0 {
		if err := r.shed(working); err != nil {
			return err
		}
		if err := r.rollBack(working); err != nil {
			return err
		}
	}
	if err := r.awaitPods(working); err != nil {
		return err
	}
	return r.restore(working)
}

// beat reports progress until ctx ends, and stops the run when the claim is lost. A report that
// cannot be stored is followed by the next one.
func (r *manualRun) beat(ctx context.Context, stop context.CancelCauseFunc) {
	for pauseFor(ctx, manualBeat) == nil {
		if err := r.note(ctx, func(*rollback.Record) {}); errors.Is(err, errLostClaim) {
			stop(err)
		}
	}
}

// shed sets the canary's weight to zero.
func (r *manualRun) shed(ctx context.Context) error {
	if !r.held {
		return nil
	}
	r.untouched = !r.zero
	history, err := r.Releases.History(ctx, r.Key, rollback.Stored)
	if err != nil {
		return err
	}
	weights, err := r.zeroAll(ctx, r.ifNewest(history.Newest()))
	r.untouched = r.untouched && len(weights) == 0
	if err != nil {
		return fmt.Errorf("take the canary out of rotation: %w", err)
	}
	r.zero = true
	for _, w := range weights {
		r.Print(w.String())
	}
	now := time.Now().UTC()
	opened := slices.ContainsFunc(weights, func(w rollback.Weight) bool { return w.From != "0" })
	return r.note(ctx, func(own *rollback.Record) {
		if !own.Shed.Succeeded() || opened {
			own.Shed, own.Weights = r.ordered(now), weights
			own.Shed.Done = now
		}
	})
}

// ifNewest is the precondition of a write: the claim is this run's, and the revision is the
// newest.
func (r *manualRun) ifNewest(newest rollback.Revision) rollback.Precondition {
	return func(ctx context.Context) error {
		if _, err := r.own(ctx); err != nil {
			return err
		}
		return r.Releases.EnsureNewest(ctx, r.Key, newest)
	}
}

// ifOpen is the precondition of a restore that nothing holds the new revision at zero itself.
func (r *manualRun) ifOpen(made rollback.Revision) rollback.Precondition {
	return func(ctx context.Context) error {
		records, err := r.Ledger.Records(ctx, r.Key, rollback.Stored)
		if err != nil {
			return err
		}
		if own, ok := rollback.FindRecord(records, made); ok && own.Closed.IsZero() && (own.Hold.Active() || own.Shed.Tried()) {
			return fmt.Errorf("revision %d is held at zero itself; to end that: %s", made.Number, own.UnholdCommand().WithTrack(made.TrackLabel))
		}
		return nil
	}
}

// rollBack rolls back with Helm, which does not stop once it has begun.
func (r *manualRun) rollBack(ctx context.Context) error {
	history, err := r.Releases.History(ctx, r.Key, rollback.Stored)
	if err != nil {
		return err
	}
	if from, _ := history.From(r.suspect.UID); from.Newest().UID != r.suspect.UID {
		return fmt.Errorf("revision %d: %w", history.Newest().Number, rollback.ErrRevisionChanged)
	}
	plan, err := r.plan(ctx, history)
	if err != nil {
		return err
	}
	if _, err := r.own(ctx); err != nil {
		return err
	}
	r.Print(fmt.Sprintf("Helm rolls back to revision %d", r.target))
	if r.made, err = r.Releases.RollBack(context.WithoutCancel(ctx), plan); err != nil {
		return err
	}
	r.Print(fmt.Sprintf("Helm has made revision %d", r.made))
	return r.note(ctx, func(own *rollback.Record) { own.Manual.Made = r.made })
}

// plan is the rollback for Helm.
func (r *manualRun) plan(ctx context.Context, history rollback.History) (rollback.Plan, error) {
	p := rollback.Plan{Key: r.Key, Suspect: r.suspect, Newest: history.Newest(), Target: r.target, HookTimeout: r.HookTimeout}
	_, newer := history.From(r.suspect.UID)
	p.Failed = slices.DeleteFunc(slices.Clone(newer), func(n rollback.Revision) bool { return n.Claim == r.suspect.UID })
	if !r.held {
		return p, nil
	}
	var err error
	p.Hold, err = r.holdFor(ctx)
	return p, err
}

// awaitPods waits until the pods of the new revision are ready.
func (r *manualRun) awaitPods(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, r.PodTimeout, fmt.Errorf("the pods of revision %d are not ready after %s", r.made, r.PodTimeout))
	defer cancel()
	for last := ""; ; {
		ready, missing, err := r.podsReady(ctx)
		if ready && err == nil {
			return nil
		}
		if err != nil {
			missing = err.Error() // the API server may be back a moment later
		}
		if missing != last && ctx.Err() == nil {
			r.Print("waiting for pods: " + missing)
			last = missing
		}
		if err := pauseFor(ctx, recheckInterval); err != nil {
			return err
		}
	}
}

// restore ends the hold, and with it the claim: see giveWeight.
func (r *manualRun) restore(ctx context.Context) error {
	history, err := r.Releases.History(ctx, r.Key, rollback.Stored)
	if err != nil {
		return err
	}
	made, ok := history.Named(r.made)
	if !ok {
		return fmt.Errorf("revision %d is gone: %w", r.made, rollback.ErrRevisionChanged)
	}
	weights, err := r.giveWeight(ctx, made)
	if err != nil {
		return err
	}
	for _, w := range weights {
		r.Print(w.String())
	}
	now := time.Now().UTC()
	how := fmt.Sprintf("%s rolled back to revision %d", r.Operator, r.target)
	if text := rollback.FormatWeights(weights); text != "" {
		how += "; " + text
	}
	err = r.note(ctx, func(own *rollback.Record) {
		own.Manual.Ended, own.Manual.Note, own.Manual.Made = now, rollback.Clip(how, rollback.MaxSummary), r.made
		own.Hold.End(now, how)
		own.Closed = now
	})
	if err == nil {
		r.Print(fmt.Sprintf("%s is rolled back to revision %d, as revision %d", r.Key, r.target, r.made))
	}
	return err
}

// pauseFor waits, and returns an error if ctx ends before.
func pauseFor(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}
