package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// plan returns the rollback for Helm. It holds the canary's weight at zero meanwhile,
// unless the decision leaves the weight alone.
func (e *executor) plan(ctx context.Context, r rollback.Record, history rollback.History) (rollback.Plan, error) {
	target := max(r.Target, r.Decision().Target)
	p := rollback.Plan{Key: r.Key, Newest: history.Newest(), Target: target, HookTimeout: e.policy.RollbackTimeout}
	p.Suspect, _ = history.Named(r.Revision)
	if _, newer := history.From(r.UID); len(newer) > 0 {
		p.Failed = slices.DeleteFunc(slices.Clone(newer), func(n rollback.Revision) bool { return n.Claim == r.UID })
	}
	held := r.HoldsTarget()
	if r.Decision().Verdict == rollback.NoStable && !held {
		return p, nil
	}
	manifest, err := e.releases.Manifest(ctx, r.Key, target)
	if err != nil {
		return p, err
	}
	if held {
		p.Hold, err = e.traffic.HoldTarget(ctx, r.Key, manifest)
		if errors.Is(err, rollback.ErrNoRoute) {
			p.Hold, err = nil, nil // the preflight says so, and no rollback begins without
		}
		return p, err
	}
	p.Hold, err = e.holdWrites(ctx, r, manifest)
	switch {
	case err == nil:
	case p.Hold == nil && r.Shed.Succeeded():
		return p, err // Without it, Helm would give the canary traffic again.
	default:
		p.Unheld = rollback.Clip(err.Error(), rollback.MaxSummary)
		e.log.WarnContext(ctx, "live routes not readable for the rollback; it goes on without", "namespace", r.Namespace,
			"release", r.Release, "revision", r.Revision, "error", err)
	}
	return p, nil
}

// holdWrites returns the function that keeps the canary's weight at zero in what Helm writes.
// It tries to read the live routes for shedLimit, and once, for lateShed, if their weight could
// not be set either. With an error, the function knows the manifest alone; it may be nil.
func (e *executor) holdWrites(ctx context.Context, r rollback.Record, m rollback.Manifest) (func(rollback.Object), error) {
	given := r.Shed != nil && r.Shed.Failed
	limit := shedLimit
	if given {
		limit = lateShed
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for {
		hold, err := e.traffic.Hold(ctx, r.Key, m)
		if err == nil || given {
			return hold, err
		}
		select {
		case <-ctx.Done():
			return hold, err
		case <-time.After(queryBriefly):
		}
	}
}

// preflight finds out what the rollback would do, before it is claimed; the next
// decision is taken on the result.
func (e *executor) preflight(ctx context.Context, r rollback.Record, p rollback.Plan) (progress, error) {
	started := time.Now().UTC()
	limited, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	result, preflightErr := e.releases.Preflight(limited, p)
	if isOverload(preflightErr) {
		return progress{record: r}, preflightErr // no attempt was used up: it is an obstacle if it lasts
	}
	if r.HoldsTarget() && p.Hold == nil {
		result.Dangers = append(result.Dangers, rollback.Danger{Kind: rollback.DangerCanary, What: fmt.Sprintf(
			"the canary of revision %d runs the pods of revision %d, and no route of a known kind leads to it: its weight would not stay zero", p.Target, r.Revision)})
	}
	stored, err := e.update(ctx, r, func(r *rollback.Record) bool {
		if r.Rollback != nil {
			return false
		}
		if r.Preflight == nil || r.Preflight.Finished() {
			r.Preflight = &rollback.Step{Started: started}
		}
		if r.Preflight.Finish(time.Now().UTC(), preflightErr, maxAttempts); preflightErr != nil {
			r.PreflightTarget = 0 // an older result says nothing about now
			return true
		}
		r.PreflightTarget, r.Preflight.Note = p.Target, rollback.Clip(result.Note, rollback.MaxSummary)
		r.NotePreflight(result)
		return true
	})
	if err != nil {
		return progress{record: stored}, err
	}
	if preflightErr != nil {
		e.log.ErrorContext(ctx, "preflight failed", "namespace", r.Namespace, "release", r.Release,
			"revision", r.Revision, "target", p.Target, "attempt", stored.Preflight.Attempts, "error", preflightErr)
	}
	return progress{record: stored, again: stored.Preflight.Wait(time.Now())}, nil
}
