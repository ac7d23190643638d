package engine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// changedInterval is how soon a record is decided again whose release has changed before a
// write.
const changedInterval = 100 * time.Millisecond

// noRoute is the note of a shed that found nothing to set to zero.
const noRoute = "the release has no canary route of a known kind"

// routeHint follows noRoute where pods are known to be the canary's: their backend may be one that
// backout does not know by their labels.
const routeHint = "; if a route leads to it, set the annotation " + rollback.CanaryAnnotation + " on that route, with the name of the canary's backend"

// shed sets the canary's weight to zero, beginning with the observation of the routes,
// if there is one. A shed that fails does not stop the rollback.
func (e *executor) shed(ctx context.Context, r rollback.Record, in inputs) (progress, error) {
	started := time.Now().UTC()
	attempt, cancel := shedContext(ctx, r)
	weights, err := e.zero(attempt, r, in.routing, allOf(e.ensureSuspect(r), in.precondition))
	cancel()
	if errors.Is(err, rollback.ErrRevisionChanged) {
		return progress{record: r, again: changedInterval}, nil // decided again, on the current state
	}
	stored, saveErr := e.update(ctx, r, func(r *rollback.Record) bool {
		if r.Confirm(in.answers) {
			r.Trace = in.trace
		}
		if !r.Shed.Begun() {
			r.Shed = &rollback.Step{Started: started}
		}
		if len(weights) > 0 {
			r.Weights = weights
		}
		now := time.Now().UTC()
		r.Shed.Finish(now, err, shedAttempts(r, now))
		if last := r.Shed.Started.Add(shedLimit); r.Decision().Rollback && r.Shed.Next.After(last) {
			r.Shed.Next = last
		}
		if err == nil {
			noteMissed(r, weights, in.missed)
		}
		return true
	})
	if saveErr != nil {
		return progress{record: stored}, saveErr
	}
	e.reportAttempt(ctx, stored, rollback.StepShed, stored.Shed, rollback.FormatWeights(weights))
	return progress{record: stored, again: stored.Shed.Wait(time.Now())}, nil
}

// maxMissed bounds the note about ways to the canary that a shed leaves open, in bytes.
const maxMissed = 1000

// noteMissed notes with the shed which ways to the canary it leaves open.
func noteMissed(r *rollback.Record, weights []rollback.Weight, missed []string) {
	switch {
	case len(missed) > 0:
		r.Shed.Note = rollback.Clip(strings.Join(missed, "; "), maxMissed)
	case len(weights) > 0:
	case r.Canary != "":
		r.Shed.Note = noRoute + routeHint
	default:
		r.Shed.Note = noRoute
	}
}

// Bounds of a shed that a rollback follows, which begins within 3 seconds: shedLimit counts
// from the claim of the shed, and lateShed is what an attempt gets that begins then. After a
// change of leader, the new one has shedLimit for its only attempt.
const (
	shedLimit = 2500 * time.Millisecond
	lateShed  = 250 * time.Millisecond
)

// shedContext limits an attempt at a shed, and much more so if a rollback follows.
func shedContext(ctx context.Context, r rollback.Record) (context.Context, context.CancelFunc) {
	if !r.Decision().Rollback {
		return context.WithTimeout(ctx, callTimeout)
	}
	now := time.Now()
	began := now
	if r.Shed != nil && now.Sub(r.Shed.Started) < shedLimit+lateShed {
		began = r.Shed.Started
	}
	return context.WithDeadline(ctx, rollback.Later(began.Add(shedLimit), now.Add(lateShed)))
}

// shedAttempts returns how often a shed is tried: it gives way to a rollback, if the
// decision asks for one.
func shedAttempts(r *rollback.Record, now time.Time) int {
	switch {
	case !r.Decision().Rollback:
		return math.MaxInt
	case now.Sub(r.Shed.Started) >= shedLimit:
		return 1
	}
	return maxShedAttempts
}

// zero sets the weights of the suspect's routes to zero; an object whose weight is zero
// already is not written. It writes nothing when the precondition fails: after an
// upgrade the routes are another revision's.
func (e *executor) zero(ctx context.Context, r rollback.Record, seen *rollback.Routing, p rollback.Precondition) ([]rollback.Weight, error) {
	if seen != nil && seen.Observation != nil {
		return e.traffic.Shed(ctx, r.Key, nil, seen.Observation, p)
	}
	manifest, err := e.releases.Manifest(ctx, r.Key, r.Revision)
	if err != nil {
		return nil, err
	}
	return e.traffic.Shed(ctx, r.Key, manifest, nil, p)
}

// ensureNewest returns the precondition of a change of a weight: it returns ErrRevisionChanged
// if that is no longer the release's newest revision.
func (e *executor) ensureNewest(k rollback.Key, newest rollback.Revision) rollback.Precondition {
	return func(ctx context.Context) error { return e.releases.EnsureNewest(ctx, k, newest) }
}

// ensureSuspect returns the precondition that the record's revision is the newest one, or still
// runs under newer ones: rollback.History.From.
func (e *executor) ensureSuspect(r rollback.Record) rollback.Precondition {
	isNewest := e.ensureNewest(r.Key, r.Suspect())
	return func(ctx context.Context) error {
		changed := isNewest(ctx)
		if !errors.Is(changed, rollback.ErrRevisionChanged) {
			return changed
		}
		history, err := e.releases.History(ctx, r.Key, rollback.Stored)
		from, newer := history.From(r.UID)
		if err != nil || len(newer) == 0 || from.Newest().UID != r.UID {
			return changed
		}
		return nil
	}
}

// ensureOpen returns the precondition of a shed that is tried again: that nothing has closed
// the record since, such as an operator who has unheld the canary.
func (e *executor) ensureOpen(r rollback.Record) rollback.Precondition {
	return func(ctx context.Context) error {
		records, err := e.ledger.Records(ctx, r.Key, rollback.Stored)
		if err != nil {
			return err
		}
		if now, ok := rollback.FindRecord(records, r.Suspect()); !ok || !now.Closed.IsZero() {
			return fmt.Errorf("the record of revision %d is closed: %w", r.Revision, rollback.ErrRevisionChanged)
		}
		return nil
	}
}

// inFlight reports whether a Helm operation works on the revision, and not for so long
// that it looks stuck: after that, an operator writes the weight.
func (e *executor) inFlight(newest rollback.Revision) bool {
	return newest.Status.Pending() && (newest.Deployed.IsZero() || time.Since(newest.Deployed) <= e.policy.OperationLimit)
}

// keepZeroInFlight repeats a shed while Helm works on the suspect.
func (e *executor) keepZeroInFlight(ctx context.Context, r rollback.Record) {
	if !r.Shed.Succeeded() {
		return
	}
	history, err := e.releases.History(ctx, r.Key, rollback.Stored)
	if err == nil && history.Newest().UID == r.UID && e.inFlight(history.Newest()) {
		e.keepZero(ctx, r, r.Suspect())
	}
}

// keepZero repeats a shed, because a Helm operation may have written the weight that its
// chart declares after the shed: the one in flight, or an interrupted one of backout.
// newest is the release's newest revision, as planned for. A canary that an operator has
// unheld meanwhile stays unheld.
func (e *executor) keepZero(ctx context.Context, r rollback.Record, newest rollback.Revision) {
	if !r.Shed.Succeeded() {
		return
	}
	isNewest := e.ensureNewest(r.Key, newest)
	_, err := e.zero(ctx, r, nil, allOf(e.ensureOpen(r), isNewest))
	if err != nil && !errors.Is(err, rollback.ErrRevisionChanged) {
		e.log.ErrorContext(ctx, "weight not kept at zero; trying again", "namespace", r.Namespace,
			"release", r.Release, "revision", r.Revision, "error", err)
	}
}
