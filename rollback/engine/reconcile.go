package engine

import (
	"context"
	"errors"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// reconciler takes the steps of open records. Only the leader uses it.
type reconciler struct {
	*executor
	// moveSignals stores with the newest revision signals that an older one's record got by
	// mistake.
	moveSignals func(ctx context.Context, r rollback.Record, c rollback.Case) error
	claims      claims
}

// reconcile takes every open record of the release as far as it goes and returns when
// to do so again, 0 if nothing waits. Where no record is open, it deletes old ones. A
// replica that does not lead does nothing.
func (rc *reconciler) reconcile(ctx context.Context, k rollback.Key) time.Duration {
	if rc.leads() != nil {
		return 0
	}
	records, err := rc.ledger.Records(ctx, k, rollback.Stored)
	if err != nil {
		return rc.logAndRetry(ctx, k, "read the records", err)
	}
	if again := rc.leaveToOperator(ctx, k, records); again > 0 {
		return again
	}
	var soonest time.Duration
	open := false
	for _, r := range records {
		if !r.Closed.IsZero() {
			continue
		}
		open = true
		if r.SetAside() {
			continue
		}
		again := rc.reconcileOpen(ctx, r)
		if again > 0 && (soonest == 0 || again < soonest) {
			soonest = again
		}
	}
	if !open && len(rollback.RetentionExceeded(records, rc.policy, time.Now())) > 0 {
		rc.prune(ctx, k)
	}
	return soonest
}

// reconcileOpen takes one open record as far as it goes, and stores an error that lasts.
func (rc *reconciler) reconcileOpen(ctx context.Context, r rollback.Record) (again time.Duration) {
	if wait := rc.obstacles.wait(r, time.Now()); wait > 0 {
		return wait
	}
	var err error
	rc.contain(ctx, r, func() { again, err = rc.reconcileRecord(ctx, r) })
	if err == nil {
		rc.endObstacle(ctx, r)
		return again
	}
	again = max(rc.logAndRetry(ctx, r.Key, "take the steps", err), rc.noteObstacle(ctx, r, err))
	if after := retryAfter(err); after > 0 {
		again = max(again, after)
		rc.obstacles.await(r, time.Now(), again)
	}
	return again
}

// reconcileRecord takes one record as far as it goes. The next step always follows from
// what is stored and from the state of the cluster, so that a new process goes on where
// the last one stopped.
func (rc *reconciler) reconcileRecord(ctx context.Context, r rollback.Record) (time.Duration, error) {
	if !rc.policy.Allows(r.Key) {
		rc.optOut(ctx, r)
		return 0, nil
	}
	for ctx.Err() == nil {
		next, err := rc.next(ctx, r)
		if err != nil {
			return 0, err
		}
		if next.record.Closed.IsZero() && next.again == 0 {
			r = next.record
			continue
		}
		return next.again, nil
	}
	return 0, nil
}

// next takes one step. A step that was begun is finished and stored even when the
// process has to stop meanwhile.
func (rc *reconciler) next(ctx context.Context, r rollback.Record) (progress, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepTimeout)
	defer cancel()
	if err := rc.leads(); err != nil {
		return progress{record: r, again: recheckInterval}, nil //nolint:nilerr // The new leader goes on.
	}
	now := time.Now().UTC()
	if r.Rollback != nil || r.Hold.Active() {
		if stopped, err := rc.writesStopped(ctx, r); err != nil || stopped {
			return progress{record: r, again: sweepInterval}, err
		}
	}
	if r.Hold.Active() && !r.Decision().Rollback && !r.Decision().Waits {
		return rc.watchHold(ctx, r)
	}
	if r.Rollback == nil {
		decided, err := rc.decideAgain(ctx, r)
		if err != nil || !decided.Closed.IsZero() {
			return progress{record: decided}, err
		}
		r = decided
	}
	if wait := r.NextAttemptIn(now); wait > 0 {
		return progress{record: r, again: wait}, nil
	}
	return rc.step(ctx, r)
}

// step takes the first step that is due.
func (rc *reconciler) step(ctx context.Context, r rollback.Record) (progress, error) {
	d := r.Decision()
	switch {
	case r.HoldsAfterFailure():
		return rc.watchHold(ctx, r)
	case r.ShedDue():
		return rc.shed(ctx, r, inputs{precondition: rc.ensureOpen(r)})
	case d.Rollback && !r.Rollback.Finished():
		return rc.rollBack(ctx, r)
	case r.Rollback.Succeeded() && !r.Restore.Finished():
		return rc.restore(ctx, r)
	case r.Restore.Succeeded() && !r.Verify.Finished():
		return rc.verify(ctx, r)
	case d.Hold && r.LeftAtZero():
		return rc.beginHold(ctx, r)
	case d.Waits:
		rc.keepZeroInFlight(ctx, r)
		return progress{record: r, again: recheckAfter(d)}, nil
	case r.Hold.Active() && r.Rollback == nil:
		return rc.watchHold(ctx, r)
	default:
		return rc.close(ctx, r)
	}
}

// decideAgain takes the decision about a record whose rollback was not begun, on the
// current state of the cluster and the current answers of Prometheus. A release that has
// moved on makes the record stale; signals that are about the newest revision go to its
// record first.
func (rc *reconciler) decideAgain(ctx context.Context, r rollback.Record) (rollback.Record, error) {
	c, err := rc.facts(ctx, r)
	if errors.Is(err, rollback.ErrRevisionChanged) {
		if err := rc.moveSignals(ctx, r, c); err != nil {
			return r, err
		}
		if r, err = rc.findOwnShed(ctx, r, c.History.Newest()); err != nil {
			return r, err
		}
		err = rollback.ErrRevisionChanged
	}
	if errors.Is(err, rollback.ErrRevisionChanged) || errors.Is(err, rollback.ErrUnknownRelease) {
		now := time.Now().UTC()
		return rc.update(ctx, r, func(r *rollback.Record) bool { return r.MoveOn(now) })
	}
	if err != nil {
		return r, err
	}
	in := rc.gather(ctx, r, c, rollback.Stored)
	now := time.Now().UTC()
	if trial := r.Clone(); !decideWith(&trial, c, in, now) {
		return r, nil
	}
	return rc.update(ctx, r, func(r *rollback.Record) bool {
		if r.Adopt(c.History.Newest(), now); r.Rollback != nil {
			return false
		}
		return decideWith(r, c, in, now)
	})
}

// writesStopped reports whether nothing may be written about a rollback or hold that was
// begun: an operator has paused backout, or it only observes now. It marks a revision
// that an attempt of backout has left pending as failed all the same, so that operators
// can go on with Helm.
func (rc *reconciler) writesStopped(ctx context.Context, r rollback.Record) (bool, error) {
	if rc.policy.Mode == rollback.ModeObserve {
		return true, nil
	}
	paused, err := rc.ledger.Paused(ctx, r.Key)
	if err != nil || paused == "" {
		return false, err
	}
	return true, rc.recoverOwn(ctx, r)
}

// optOut closes the record of a release that is no longer opted in. It does nothing to
// the release, and asks for help if it leaves a weight at zero.
func (rc *reconciler) optOut(ctx context.Context, r rollback.Record) {
	if err := rc.recoverOwn(ctx, r); err != nil {
		rc.logAndRetry(ctx, r.Key, "recover the pending revision", err)
		return
	}
	now := time.Now().UTC()
	_, err := rc.update(ctx, r, func(r *rollback.Record) bool {
		d := rollback.Decision{Verdict: rollback.NotAllowed, Reason: "the release is no longer opted in by BACKOUT_RELEASES", At: now}
		if len(r.Weights) > 0 && !r.Restore.Succeeded() {
			d.NeedsHelp, d.Command = true, r.UnholdCommand()
			d.Reason += "; the canary's weight is still zero, and backout does not restore it"
		}
		r.Decide(d)
		r.Closed = now
		r.Hold.End(now, "the release is no longer opted in")
		return true
	})
	if err != nil {
		rc.logAndRetry(ctx, r.Key, "close the record", err)
	}
}

// close ends the work on a record, unless another decision was stored meanwhile. It
// leaves behind no zero without a hold: after an alert that Prometheus denied, or has with
// the level observe, it restores the weight; otherwise it begins a hold.
func (rc *reconciler) close(ctx context.Context, r rollback.Record) (progress, error) {
	d := r.Decision()
	switch {
	case r.Shed != nil && !r.Shed.Begun() && time.Since(r.Shed.Started).Abs() < orderLimit:
		return progress{record: r, again: recheckInterval}, nil
	case r.Shed != nil && !r.Shed.Tried() && !d.Shed:
		return rc.resolveClaim(ctx, r)
	case r.LeftAtZero() && d.Verdict == rollback.Unconfirmed && r.Shed.Operator == "":
		return rc.undoShed(ctx, r, r.Evaluator()+" denies the alert")
	case r.LeftAtZero() && d.Verdict == rollback.Observe && rc.policy.Mode == rollback.ModeAct && r.Shed.Operator == "":
		return rc.undoShed(ctx, r, "in "+r.Evaluator()+" the alert only observes")
	case r.LeftAtZero():
		return rc.beginHold(ctx, r)
	}
	if err := rc.recoverOwn(ctx, r); err != nil {
		return progress{record: r}, err
	}
	closed, err := rc.update(ctx, r, func(r *rollback.Record) bool {
		if !r.Closed.IsZero() || !r.Decision().Same(d) {
			return false
		}
		r.Closed = time.Now().UTC()
		r.Hold.End(r.Closed, "the release was rolled back")
		return true
	})
	if err == nil && !closed.Closed.IsZero() {
		rc.prune(ctx, r.Key)
	}
	return progress{record: closed}, err
}

// orderLimit is how long a command may take for a shed that it has announced in the record.
const orderLimit = 30 * time.Second

// recheckAfter returns when a waiting decision is taken again. Conditions that may
// change at any time are checked by the clock.
func recheckAfter(d rollback.Decision) time.Duration {
	switch {
	case d.Verdict == rollback.NoStable && !d.Rollback, d.Verdict == rollback.Storming && d.RecheckAt.IsZero():
		return sweepInterval
	case d.Verdict == rollback.Settling && d.RecheckAt.IsZero():
		return verifyInterval
	case d.RecheckAt.IsZero(), d.Verdict == rollback.Unknown:
		return recheckInterval
	}
	return min(max(time.Until(d.RecheckAt), recheckInterval/10), sweepInterval)
}
