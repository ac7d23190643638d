package engine

import (
	"context"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// plan returns the rollback for Helm. It holds the canary's weight at zero meanwhile,
// unless the decision leaves the weight alone.
func (e *executor) plan(ctx context.Context, r rollback.Record, history rollback.History) (rollback.Plan, error) {
	target := max(r.Target, r.Decision().Target)
	p := rollback.Plan{Key: r.Key, Newest: history.Newest(), Target: target, HookTimeout: e.policy.RollbackTimeout}
	p.Suspect, _ = history.Named(r.Revision)
	if r.Decision().Verdict == rollback.NoStable {
		return p, nil
	}
	manifest, err := e.releases.Manifest(ctx, r.Key, target)
	if err == nil {
		p.Hold, err = e.traffic.Hold(ctx, r.Key, manifest)
	}
	return p, err
}

// preflight finds out what the rollback would do, before it is claimed; the next
// decision is taken on the result.
func (e *executor) preflight(ctx context.Context, r rollback.Record, p rollback.Plan) (progress, error) {
	started := time.Now().UTC()
	result, preflightErr := e.releases.Preflight(ctx, p)
	stored, err := e.update(ctx, r, func(r *rollback.Record) bool {
		if r.Rollback != nil {
			return false
		}
		if r.Preflight == nil || r.Preflight.Finished() {
			r.Preflight = &rollback.Step{Started: started}
		}
		if r.Preflight.Finish(time.Now().UTC(), preflightErr, maxAttempts); preflightErr != nil {
			return true
		}
		r.PreflightTarget = p.Target
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
