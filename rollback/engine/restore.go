package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// restore gives the canary the weight that the target declares, once the target's
// workloads are ready. A canary that the rollback holds at zero gets none: holdTarget.
func (e *executor) restore(ctx context.Context, r rollback.Record) (progress, error) {
	if r.HoldsTarget() {
		return e.holdTarget(ctx, r)
	}
	why, err := e.restoreBlockedBy(ctx, r)
	if errors.Is(err, errUndecided) {
		return progress{record: r, again: recheckInterval}, nil
	}
	if err != nil {
		return progress{record: r}, err
	}
	if why != "" {
		return e.restoreByHold(ctx, r, why)
	}
	ready, missing, err := e.releases.Ready(ctx, r.Key, r.Made)
	if err != nil {
		return progress{record: r}, err
	}
	if !ready {
		return e.awaitPods(ctx, r, missing)
	}
	return e.restoreWeight(ctx, r)
}

// restoreWeight writes the weight that the new revision declares.
func (e *executor) restoreWeight(ctx context.Context, r rollback.Record) (progress, error) {
	manifest, err := e.releases.Manifest(ctx, r.Key, r.Made)
	var weights []rollback.Weight
	if err == nil {
		limited, cancel := context.WithTimeout(ctx, callTimeout)
		defer cancel()
		weights, err = e.traffic.Restore(limited, r.Key, manifest, func(ctx context.Context) error {
			why, err := e.restoreBlockedBy(ctx, r)
			if err == nil && why != "" {
				err = fmt.Errorf("%s: %w", why, rollback.ErrRevisionChanged)
			}
			return err
		})
	}
	if errors.Is(err, rollback.ErrRevisionChanged) || errors.Is(err, errUndecided) {
		return progress{record: r}, nil // checked again
	}
	if isOverload(err) && !neverAtZero(&r) {
		return progress{record: r}, err // no attempt: an obstacle, if it lasts
	}
	stored, saveErr := e.update(ctx, r, func(r *rollback.Record) bool {
		beginRestore(r)
		if err != nil && neverAtZero(r) && r.Restore.Attempts+1 >= maxShedAttempts {
			r.Restore.Finish(time.Now().UTC(), nil, maxAttempts)
			r.Restore.Note = rollback.Clip("backout could not write the canary's weight, and leaves it as it is: "+err.Error(), rollback.MaxSummary)
			return true
		}
		if r.Restore.Finish(time.Now().UTC(), err, maxAttempts); r.Restore.Failed {
			holdAfterFailure(r)
		}
		return true
	})
	if saveErr != nil {
		return progress{record: stored}, saveErr
	}
	e.reportAttempt(ctx, stored, rollback.StepRestore, stored.Restore, rollback.FormatWeights(weights))
	return progress{record: stored, again: stored.Restore.Wait(time.Now())}, nil
}

// restoreByHold ends a restore that is no longer the record's to do. Where another client has
// changed the release, a hold gives the newest revision its weight: Helm leaves the zero as it
// is on most routes.
func (e *executor) restoreByHold(ctx context.Context, r rollback.Record, why string) (progress, error) {
	history, err := e.releases.History(ctx, r.Key, rollback.Stored)
	if err != nil && !errors.Is(err, rollback.ErrUnknownRelease) {
		return progress{record: r}, err
	}
	movedOn := err == nil && history.Newest().Number != r.Made
	stored, err := e.update(ctx, r, func(r *rollback.Record) bool {
		beginRestore(r)
		r.Restore.Failed, r.Restore.Error = true, why
		if movedOn {
			holdAfterFailure(r)
		}
		return true
	})
	return progress{record: stored}, err
}

// holdAfterFailure begins the hold of a weight that the restore has left at zero.
func holdAfterFailure(r *rollback.Record) {
	if len(r.Weights) > 0 {
		r.Hold = &rollback.Hold{Since: time.Now().UTC()}
	}
}

// neverAtZero reports whether the shed was given up without setting any weight to zero: then
// there is nothing that only a restore could end.
func neverAtZero(r *rollback.Record) bool {
	return r.Shed != nil && r.Shed.Failed && len(r.Weights) == 0
}

// awaitPods stores the reason why the target's workloads are not ready.
func (e *executor) awaitPods(ctx context.Context, r rollback.Record, missing string) (progress, error) {
	stored, err := e.update(ctx, r, func(r *rollback.Record) bool {
		began, late := r.Restore == nil, restoreOverdue(r, e.policy)
		beginRestore(r)
		changed := began || r.Restore.Error != missing || late
		r.Restore.Error = missing
		if late {
			r.Outcome = rollback.OutcomeNotRecovered
		}
		return changed
	})
	if err != nil || stored.Outcome == "" {
		return progress{record: stored, again: recheckInterval}, err
	}
	if r.Outcome == "" {
		e.metrics.outcomes.WithLabelValues(string(stored.Outcome)).Inc()
	}
	return progress{record: stored, again: rollback.MaxRetryWait}, nil
}

// restoreOverdue reports whether the target should have been ready long ago: an operator
// has to look, though the weight is still restored if the target ever gets ready.
func restoreOverdue(r *rollback.Record, p rollback.Policy) bool {
	return r.Outcome == "" && time.Since(r.Rollback.Done) > p.VerifyLimit
}

// errUndecided says that a signal about the revision is stored, and that the decision
// about it has not been carried out yet.
var errUndecided = errors.New("an alert fires for the revision, and backout has not acted on it yet")

func beginRestore(r *rollback.Record) {
	if r.Restore == nil {
		r.Restore = &rollback.Step{Started: time.Now().UTC()}
	}
}

// restoreBlockedBy says why this record must not restore the weight; "" if it may. A
// signal about the revision that the rollback made holds its weight at zero, and another
// client that has changed the release since decides about the weight.
func (e *executor) restoreBlockedBy(ctx context.Context, r rollback.Record) (string, error) {
	history, err := e.releases.History(ctx, r.Key, rollback.Stored)
	if errors.Is(err, rollback.ErrUnknownRelease) {
		return "the release is gone", nil
	}
	if err != nil {
		return "", err
	}
	newest := history.Newest()
	if own, ok := history.Named(r.Revision); newest.Number != r.Made || newest.Claim != r.UID || !ok || own.UID != r.UID {
		return fmt.Sprintf("the release is at revision %d now; check that its canary has the weight it should have", newest.Number), nil
	}
	records, err := e.ledger.Records(ctx, r.Key, rollback.Stored)
	if err != nil {
		return "", err
	}
	held, ok := rollback.FindRecord(records, newest)
	switch {
	case !ok:
		return "", nil
	case held.Shed != nil && !held.Shed.Tried() && held.Closed.IsZero():
		return "", errUndecided
	case held.Shed.Tried() || held.Hold.Active():
		return fmt.Sprintf("an alert fires for revision %d as well; its weight is held at zero", newest.Number), nil
	}
	return "", nil
}
