package rollback

import (
	"context"
	"errors"
	"math"
	"time"
)

// noRoute is what a shed notes that found nothing to set to zero.
const noRoute = "the release has no canary route of a known kind"

// shed sets the canary's weight to zero, on what was seen of the routes if they were
// looked at. A shed that cannot be done does not keep the rollback from being done.
func (e *Engine) shed(ctx context.Context, r Record, seen insight) (progress, error) {
	started := time.Now().UTC()
	var weights []Weight
	var err error
	if still := both(e.still(r.Key, r.revision()), seen.unchanged); seen.routing != nil && seen.routing.Seen != nil {
		weights, err = e.traffic.ShedSeen(ctx, r.Key, *seen.routing, still)
	} else {
		weights, err = e.zero(ctx, r, still)
	}
	if errors.Is(err, ErrMoved) {
		return progress{record: r}, nil // decided again, on what is there now
	}
	stored, saveErr := e.amend(ctx, r, func(r *Record) bool {
		if r.confirm(seen.answers) {
			r.Grounds = seen.grounds
		}
		if r.Shed == nil {
			r.Shed = &Step{Started: started}
		}
		if len(weights) > 0 {
			r.Weights = weights
		}
		r.Shed.finish(err, r.shedAttempts())
		if err == nil && len(weights) == 0 {
			r.Shed.Note = noRoute
		}
		return true
	})
	if saveErr != nil {
		return progress{record: stored}, saveErr
	}
	e.tell(ctx, stored, stepShed, stored.Shed, describe(weights))
	return progress{record: stored, again: stored.Shed.wait()}, nil
}

// shedAttempts returns how often a shed is tried: it gives way to a rollback, if
// there is to be one.
func (r *Record) shedAttempts() int {
	if r.Decision().Rollback {
		return maxShedAttempts
	}
	return math.MaxInt
}

// settleClaim finds out what became of a shed that was claimed, and that is not
// wanted any more: a process may have died between doing and noting it.
func (e *Engine) settleClaim(ctx context.Context, r Record) (progress, error) {
	manifest, err := e.releases.Manifest(ctx, r.Key, r.Revision)
	if err != nil {
		return progress{record: r}, err
	}
	routing, err := e.traffic.Look(ctx, r.Key, manifest)
	if err != nil && len(routing.Weights) == 0 {
		return progress{record: r}, err
	}
	stored, err := e.amend(ctx, r, func(r *Record) bool {
		switch {
		case r.Shed.tried() || r.Decision().Shed:
			return false
		case len(routing.Weights) == 0 || routing.Open():
			r.Shed = nil
		default:
			r.Shed.finish(nil, maxShedAttempts)
			r.Weights = routing.Weights
		}
		return true
	})
	return progress{record: stored}, err
}

// undo gives the accused revision its weight back: it was taken out of the traffic
// for an alert that Prometheus denies.
func (e *Engine) undo(ctx context.Context, r Record) (progress, error) {
	ready, _, err := e.releases.Ready(ctx, r.Key, r.Revision)
	if err != nil || !ready {
		return progress{record: r, again: holdInterval}, err
	}
	manifest, err := e.releases.Manifest(ctx, r.Key, r.Revision)
	if err != nil {
		return progress{record: r}, err
	}
	weights, err := e.traffic.Raise(ctx, r.Key, manifest, e.still(r.Key, r.revision()))
	if errors.Is(err, ErrMoved) {
		return progress{record: r}, nil
	}
	if err != nil {
		return progress{record: r}, err
	}
	now := time.Now().UTC()
	stored, err := e.amend(ctx, r, func(r *Record) bool {
		r.Hold = &Hold{Since: r.Shed.Done, Ended: now, Lifted: false, Why: "Prometheus denies the alert; " + describe(weights)}
		r.Shed, r.Weights = nil, nil
		return true
	})
	return progress{record: stored}, err
}

// zero sets the weights of the accused revision's routes to zero; what is zero
// already is not written. It writes nothing that still refuses: whose routes they
// are after an upgrade is not backout's to say.
func (e *Engine) zero(ctx context.Context, r Record, still func(context.Context) error) ([]Weight, error) {
	manifest, err := e.releases.Manifest(ctx, r.Key, r.Revision)
	if err != nil {
		return nil, err
	}
	return e.traffic.Shed(ctx, r.Key, manifest, still)
}

// still returns what is asked right before a weight is written: it returns ErrMoved
// if that is not the release's newest revision any more.
func (e *Engine) still(k Key, newest Revision) func(context.Context) error {
	return func(ctx context.Context) error { return e.releases.Newest(ctx, k, newest) }
}

// revision returns what the record knows of the revision it is about.
func (r *Record) revision() Revision { return Revision{Number: r.Revision, UID: r.UID} }

// inFlight reports whether a Helm operation works on the revision, and not for so
// long that it looks stuck: then whoever writes the weight is a person.
func (e *Engine) inFlight(newest Revision) bool {
	return newest.Status.Pending() && (newest.Deployed.IsZero() || time.Since(newest.Deployed) <= e.policy.OperationLimit)
}

// keepZeroInFlight does a shed again while Helm works on the accused revision.
func (e *Engine) keepZeroInFlight(ctx context.Context, r Record) {
	if !r.Shed.Succeeded() {
		return
	}
	history, err := e.releases.History(ctx, r.Key)
	if err == nil && history.Accused().UID == r.UID && e.inFlight(history.Accused()) {
		e.keepZero(ctx, r, r.revision())
	}
}

// keepZero does a shed again, because a Helm operation may have written the weight
// that its chart declares after the shed: the one in flight, or the remains of our
// own. newest is the release's newest revision, as planned for. What a
// person has released meanwhile stays released.
func (e *Engine) keepZero(ctx context.Context, r Record, newest Revision) {
	if !r.Shed.Succeeded() {
		return
	}
	still := e.still(r.Key, newest)
	_, err := e.zero(ctx, r, func(ctx context.Context) error {
		records, err := e.ledger.Records(ctx, r.Key)
		if err != nil {
			return err
		}
		if now, ok := find(records, r.UID); !ok || !now.Closed.IsZero() {
			return ErrMoved
		}
		return still(ctx)
	})
	if err != nil && !errors.Is(err, ErrMoved) {
		e.log.ErrorContext(ctx, "weight not kept at zero; trying again", "namespace", r.Namespace,
			"release", r.Release, "revision", r.Revision, "error", err)
	}
}
