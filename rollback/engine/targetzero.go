package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// A target whose canary runs the suspect's pods: see rollback.Revision.PromotedBy. Before Helm
// writes, that canary's weight is zero on the live routes; Helm writes zero; and afterwards the
// record of the revision that Helm made holds it there, in place of a restore.

// errNotHeld says that Helm may not write the target, because backout could not keep its
// canary's weight at zero.
var errNotHeld = errors.New("the weight of its canary cannot be kept at zero")

// zeroTarget sets the weight of the target's canary to zero on the live routes, before Helm
// writes them. It stores what it found, so that a rollback that fails leaves a hold.
func (e *executor) zeroTarget(ctx context.Context, r rollback.Record, p rollback.Plan) (rollback.Record, error) {
	if p.Hold == nil {
		return r, fmt.Errorf("revision %d: %w", p.Target, errNotHeld)
	}
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	manifest, err := e.releases.Manifest(limited, r.Key, p.Target)
	if err != nil {
		return r, err
	}
	routing, err := e.traffic.Observe(limited, r.Key, manifest, rollback.Stored)
	if err != nil {
		return r, err
	}
	if routing.Open() && routing.NoStable != "" {
		return r, fmt.Errorf("revision %d: %s: %w", p.Target, routing.NoStable, errNotHeld)
	}
	weights, err := e.traffic.Shed(limited, r.Key, manifest, routing.Observation, e.ensureNewest(r.Key, p.Newest))
	if err != nil {
		err = fmt.Errorf("set the weight of the canary of revision %d to zero: %w", p.Target, err)
	}
	if len(weights) == 0 {
		return r, err
	}
	stored, saveErr := e.update(limited, r, func(r *rollback.Record) bool {
		if len(r.Weights) > 0 {
			return false
		}
		now := time.Now().UTC()
		r.Weights, r.Shed = weights, &rollback.Step{Started: now}
		r.Shed.Finish(now, nil, maxShedAttempts)
		return true
	})
	return stored, errors.Join(err, saveErr)
}

// holdTarget begins the hold of the target's canary in the record of the revision that Helm
// made, and waits for the pods of the stable track. It is the restore of such a rollback.
func (e *executor) holdTarget(ctx context.Context, r rollback.Record) (progress, error) {
	history, err := e.releases.History(ctx, r.Key, rollback.Stored)
	if errors.Is(err, rollback.ErrUnknownRelease) {
		return e.targetHeld(ctx, r, "the release is gone")
	}
	if err != nil {
		return progress{record: r}, err
	}
	made, ok := history.Named(r.Made)
	if !ok || made.Claim != r.UID {
		return e.targetHeld(ctx, r, fmt.Sprintf("revision %d is gone", r.Made))
	}
	records, err := e.ledger.Records(ctx, r.Key, rollback.Stored)
	if err != nil {
		return progress{record: r}, err
	}
	held, _ := rollback.FindRecord(records, made)
	switch {
	case held.Shed != nil && !held.Shed.Tried() && held.Closed.IsZero():
		return progress{record: r, again: recheckInterval}, nil // an alert fires for it, and decides first
	case !held.Claimed() && (held.Hold == nil || held.ShedUndone()):
		if waits, err := e.beginTargetHold(ctx, r, made, records); err != nil || waits.again > 0 {
			return waits, err
		}
	}
	if history.Newest().UID != made.UID {
		return e.targetHeld(ctx, r, fmt.Sprintf("the release is at revision %d now", history.Newest().Number))
	}
	ready, missing, err := e.releases.ReadyStable(ctx, r.Key, made.Number)
	if err != nil {
		return progress{record: r}, err
	}
	if !ready {
		return e.awaitPods(ctx, r, missing)
	}
	return e.targetHeld(ctx, r, fmt.Sprintf("the canary of revision %d stays at zero: it runs the pods of revision %d", made.Number, r.Revision))
}

// beginTargetHold marks the routes, and stores the hold. If another client has written a newer
// revision, or the routes cannot be marked, the hold begins all the same: Helm has written the
// zero, and the record of the suspect ends soon.
func (e *executor) beginTargetHold(ctx context.Context, r rollback.Record, made rollback.Revision, records []rollback.Record) (progress, error) {
	manifest, err := e.releases.Manifest(ctx, r.Key, made.Number)
	if err != nil {
		return progress{record: r}, err
	}
	limited, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	weights, err := e.traffic.Shed(limited, r.Key, manifest, nil, e.ensureNewest(r.Key, made))
	if errors.Is(err, rollback.ErrRevisionChanged) {
		err = nil
	}
	if isOverload(err) {
		return progress{record: r}, err // no attempt, as in a restore
	}
	if err != nil && (r.Restore == nil || r.Restore.Attempts+1 < maxAttempts) {
		stored, saveErr := e.update(ctx, r, func(r *rollback.Record) bool {
			beginRestore(r)
			r.Restore.Finish(time.Now().UTC(), err, maxAttempts)
			return true
		})
		e.reportAttempt(ctx, stored, rollback.StepRestore, stored.Restore, "")
		return progress{record: stored, again: max(stored.Restore.Wait(time.Now()), time.Millisecond)}, saveErr
	}
	held, known := rollback.FindRecord(records, made)
	now := time.Now().UTC()
	if !known {
		held = rollback.NewRecord(r.Key, made, records, now)
	}
	held.Adopt(made, now)
	held.HoldTarget(r, weights, now)
	if err != nil {
		held.Hold.Problem = rollback.Clip(err.Error(), rollback.MaxSummary)
	}
	if _, err := e.ledger.Save(ctx, held); err != nil {
		return progress{record: r}, err
	}
	e.log.WarnContext(ctx, "canary held at zero", "namespace", r.Namespace, "release", r.Release,
		"revision", made.Number, "verdict", held.Decision().Verdict, "reason", held.Decision().Reason)
	e.enqueue(r.Key)
	return progress{record: r}, nil
}

// targetHeld ends the step that takes the place of the restore.
func (e *executor) targetHeld(ctx context.Context, r rollback.Record, how string) (progress, error) {
	stored, err := e.update(ctx, r, func(r *rollback.Record) bool {
		beginRestore(r)
		r.Restore.Finish(time.Now().UTC(), nil, maxAttempts)
		r.Restore.Note = how
		return true
	})
	if err == nil {
		e.reportAttempt(ctx, stored, rollback.StepRestore, stored.Restore, "")
	}
	return progress{record: stored}, err
}
