package rollback

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// noRoute is what a shed notes that found nothing to set to zero.
const noRoute = "the release has no canary route of a known kind"

// shed sets the canary's weight to zero. A shed that cannot be done does not
// keep the rollback from being done.
func (e *Engine) shed(ctx context.Context, r Record) (progress, error) {
	started := time.Now().UTC()
	weights, err := e.zero(ctx, r, r.UID)
	if errors.Is(err, ErrMoved) {
		return progress{record: r}, nil // decided again, on what is there now
	}
	stored, saveErr := e.amend(ctx, r, func(r *Record) bool {
		if r.Shed == nil {
			r.Shed = &Step{Started: started}
		}
		if len(weights) > 0 {
			r.Weights = weights
		}
		r.Shed.finish(err, maxShedAttempts)
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

// zero sets the weights of the accused revision's routes to zero; what is zero
// already is not written. It returns ErrMoved, having written nothing, if the
// release's newest revision is not the one with that UID: whose routes they are
// then is not backout's to say.
func (e *Engine) zero(ctx context.Context, r Record, newest string) ([]Weight, error) {
	manifest, err := e.releases.Manifest(ctx, r.Key, r.Revision)
	if err != nil {
		return nil, err
	}
	return e.traffic.Shed(ctx, r.Key, manifest, e.still(r.Key, newest))
}

// still returns what is asked right before a weight is written: it returns ErrMoved
// if the release's newest revision is not the one with that UID any more.
func (e *Engine) still(k Key, newest string) func(context.Context) error {
	return func(ctx context.Context) error {
		history, err := e.releases.History(ctx, k)
		switch {
		case errors.Is(err, ErrUnknownRelease):
			return ErrMoved
		case err != nil:
			return err
		case history.Accused().UID != newest:
			return fmt.Errorf("%s is at revision %d: %w", k, history.Accused().Number, ErrMoved)
		default:
			return nil
		}
	}
}

// keepZero does a shed again, because a Helm operation may have written the weight
// that its chart declares after the shed: the one in flight, or the remains of our
// own. newest is the UID of the release's newest revision, as planned for.
func (e *Engine) keepZero(ctx context.Context, r Record, newest string) {
	if !r.Shed.Succeeded() {
		return
	}
	if _, err := e.zero(ctx, r, newest); err != nil && !errors.Is(err, ErrMoved) {
		e.log.ErrorContext(ctx, "weight not kept at zero; trying again", "namespace", r.Namespace,
			"release", r.Release, "revision", r.Revision, "error", err)
	}
}
