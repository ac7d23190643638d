package rollback

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// raise gives the canary the weight that the target declares, once the target's
// workloads are ready.
func (e *Engine) raise(ctx context.Context, r Record) (progress, error) {
	why, err := e.unraisable(ctx, r)
	if errors.Is(err, errUndecided) {
		return progress{record: r, again: lookInterval}, nil
	}
	if err != nil {
		return progress{record: r}, err
	}
	if why != "" {
		stored, err := e.amend(ctx, r, func(r *Record) bool {
			r.beginRaise()
			r.Raise.Failed, r.Raise.Error = true, why
			return true
		})
		return progress{record: stored}, err
	}
	ready, waiting, err := e.releases.Ready(ctx, r.Key, r.Made)
	if err != nil {
		return progress{record: r}, err
	}
	if !ready {
		return e.awaitTarget(ctx, r, waiting)
	}
	manifest, err := e.releases.Manifest(ctx, r.Key, r.Made)
	var weights []Weight
	if err == nil {
		weights, err = e.traffic.Raise(ctx, r.Key, manifest, func(ctx context.Context) error {
			why, err := e.unraisable(ctx, r)
			if err == nil && why != "" {
				err = fmt.Errorf("%s: %w", why, ErrMoved)
			}
			return err
		})
	}
	if errors.Is(err, ErrMoved) || errors.Is(err, errUndecided) {
		return progress{record: r}, nil // looked at again
	}
	stored, saveErr := e.amend(ctx, r, func(r *Record) bool {
		r.beginRaise()
		r.Raise.finish(err, maxAttempts)
		return true
	})
	if saveErr != nil {
		return progress{record: stored}, saveErr
	}
	e.tell(ctx, stored, stepRaise, stored.Raise, describe(weights))
	return progress{record: stored, again: stored.Raise.wait()}, nil
}

// awaitTarget notes what the target's workloads still wait for.
func (e *Engine) awaitTarget(ctx context.Context, r Record, waiting string) (progress, error) {
	stored, err := e.amend(ctx, r, func(r *Record) bool {
		began, late := r.Raise == nil, r.late(e.policy)
		r.beginRaise()
		changed := began || r.Raise.Error != waiting || late
		r.Raise.Error = waiting
		if late {
			r.Outcome = NotRecovered
		}
		return changed
	})
	if err != nil || stored.Outcome == "" {
		return progress{record: stored, again: lookInterval}, err
	}
	if r.Outcome == "" {
		e.metrics.outcomes.WithLabelValues(string(stored.Outcome)).Inc()
	}
	return progress{record: stored, again: maxRetryWait}, nil
}

// late reports whether the target should have been ready long ago: people are to
// look, though the weight is still raised if it ever gets ready.
func (r *Record) late(p Policy) bool {
	return r.Outcome == "" && time.Since(r.Rollback.Done) > p.VerifyLimit
}

// errUndecided says that an accusation of the revision is stored and not decided
// to its end.
var errUndecided = errors.New("the revision is accused, and nothing is done about it yet")

func (r *Record) beginRaise() {
	if r.Raise == nil {
		r.Raise = &Step{Started: time.Now().UTC()}
	}
}

// unraisable says why the weight is no longer this record's to raise; "" if it
// is. An accusation of the revision that the rollback made holds its weight at
// zero, and whoever changed the release since decides about it.
func (e *Engine) unraisable(ctx context.Context, r Record) (string, error) {
	history, err := e.releases.History(ctx, r.Key)
	if errors.Is(err, ErrUnknownRelease) {
		return "the release is gone", nil
	}
	if err != nil {
		return "", err
	}
	newest := history.Accused()
	if own, ok := history.Named(r.Revision); newest.Number != r.Made || !ok || own.UID != r.UID {
		return fmt.Sprintf("the release is at revision %d by now; look whether its canary has the weight it should have", newest.Number), nil
	}
	records, err := e.ledger.Records(ctx, r.Key)
	if err != nil {
		return "", err
	}
	held, ok := find(records, newest.UID)
	switch {
	case !ok:
		return "", nil
	case held.Shed != nil && !held.Shed.tried() && held.Closed.IsZero():
		return "", errUndecided
	case held.Shed.tried() || held.Hold.Lasts():
		return fmt.Sprintf("revision %d is accused as well; its weight is held at zero", newest.Number), nil
	}
	return "", nil
}
