package engine

import (
	"context"
	"errors"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// resolveClaim finds out whether a shed that was claimed, and that is no longer wanted,
// was done: a process may have died between the shed and the write of the record.
func (e *executor) resolveClaim(ctx context.Context, r rollback.Record) (progress, error) {
	manifest, err := e.releases.Manifest(ctx, r.Key, r.Revision)
	if err != nil {
		return progress{record: r}, err
	}
	routing, err := e.traffic.Observe(ctx, r.Key, manifest, rollback.Stored)
	if err != nil && len(routing.Weights) == 0 {
		return progress{record: r}, err
	}
	stored, err := e.update(ctx, r, func(r *rollback.Record) bool {
		switch {
		case r.Shed == nil || r.Shed.Tried() || r.Decision().Shed:
			return false
		case len(routing.Weights) == 0 || routing.Open():
			r.Shed = nil
		default:
			r.Shed.Finish(time.Now().UTC(), nil, maxShedAttempts)
			r.Weights = routing.Weights
		}
		return true
	})
	return progress{record: stored}, err
}

// findOwnShed finds out, by the mark on a route, whether a shed that was claimed was done
// before the release moved on to another revision. If so, the record says it, and the weight
// is held like any other.
func (e *executor) findOwnShed(ctx context.Context, r rollback.Record, newest rollback.Revision) (rollback.Record, error) {
	if r.Shed == nil || r.Shed.Tried() {
		return r, nil
	}
	manifest, err := e.releases.Manifest(ctx, r.Key, newest.Number)
	if err != nil {
		return r, err
	}
	held, err := e.traffic.Held(ctx, r.Key, manifest)
	if err != nil || !held {
		return r, err
	}
	routing, err := e.traffic.Observe(ctx, r.Key, manifest, rollback.Stored)
	if err != nil || len(routing.Weights) == 0 || routing.Open() {
		return r, err
	}
	return e.update(ctx, r, func(r *rollback.Record) bool {
		if r.Shed == nil || r.Shed.Tried() {
			return false
		}
		r.Shed.Finish(time.Now().UTC(), nil, maxShedAttempts)
		r.Weights = routing.Weights
		return true
	})
}

// undoShed gives the suspect its weight back: why says what is wrong with the alert for
// which it was shed.
func (e *executor) undoShed(ctx context.Context, r rollback.Record, why string) (progress, error) {
	ready, _, err := e.releases.Ready(ctx, r.Key, r.Revision)
	if err != nil || !ready {
		return progress{record: r, again: holdInterval}, err
	}
	manifest, err := e.releases.Manifest(ctx, r.Key, r.Revision)
	if err != nil {
		return progress{record: r}, err
	}
	weights, err := e.traffic.Restore(ctx, r.Key, manifest, e.ensureNewest(r.Key, r.Suspect()))
	if errors.Is(err, rollback.ErrRevisionChanged) {
		return progress{record: r, again: recheckInterval}, nil
	}
	if err != nil {
		return progress{record: r}, err
	}
	now := time.Now().UTC()
	stored, err := e.update(ctx, r, func(r *rollback.Record) bool {
		if r.Shed == nil {
			return false
		}
		r.Hold = &rollback.Hold{Since: r.Shed.Done, Ended: now, Reason: why + "; " + rollback.FormatWeights(weights)}
		r.Shed, r.Weights = nil, nil
		return true
	})
	return progress{record: stored}, err
}
