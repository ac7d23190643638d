package rollback

import (
	"context"
	"errors"
	"time"
)

// Bounds on how often a step is tried. A shed that fails gives way to the rollback
// after some 3 seconds, which holds the weight at zero too; the other steps
// outlast an API server that is away for some minutes.
const (
	maxShedAttempts = 5
	maxAttempts     = 20
	maxRetryWait    = 30 * time.Second
)

// settle walks every open record of the release and returns when to look again,
// 0 if nothing waits. Where none is open, old ones go. A replica that does not lead
// walks none.
func (e *Engine) settle(ctx context.Context, k Key) time.Duration {
	if e.leads() != nil {
		return 0
	}
	records, err := e.ledger.Records(ctx, k)
	if err != nil {
		return e.later(ctx, k, "read the records", err)
	}
	var soonest time.Duration
	open := false
	for _, r := range records {
		if !r.Closed.IsZero() {
			continue
		}
		open = true
		again, err := e.attend(ctx, r)
		if err != nil {
			again = e.later(ctx, k, "walk the steps", err)
		}
		if again > 0 && (soonest == 0 || again < soonest) {
			soonest = again
		}
	}
	if !open && len(late(records, e.policy, time.Now())) > 0 {
		e.prune(ctx, k)
	}
	return soonest
}

// attend does for one record what the leader may do.
func (e *Engine) attend(ctx context.Context, r Record) (time.Duration, error) {
	if !e.policy.Allows(r.Key) {
		e.optOut(ctx, r)
		return 0, nil
	}
	return e.walk(ctx, r)
}

// optOut closes the record of a release that is no longer opted in. Nothing is
// done to the release.
func (e *Engine) optOut(ctx context.Context, r Record) {
	if err := e.recoverOwn(ctx, r); err != nil {
		e.later(ctx, r.Key, "recover what is pending", err)
		return
	}
	now := time.Now().UTC()
	_, err := e.amend(ctx, r, func(r *Record) bool {
		r.Decide(Decision{Verdict: NotAllowed, Reason: "the release is no longer opted in by BACKOUT_RELEASES", At: now})
		r.Closed = now
		r.Hold.end(now, "the release is no longer opted in")
		return true
	})
	if err != nil {
		e.later(ctx, r.Key, "close the record", err)
	}
}

func (e *Engine) later(ctx context.Context, k Key, what string, err error) time.Duration {
	if ctx.Err() == nil {
		e.log.ErrorContext(ctx, "step not possible now; trying again", "namespace", k.Namespace,
			"release", k.Release, "step", what, "error", err)
	}
	return lookInterval
}

// walk takes one record as far as it goes. The next step always follows from
// what is stored and what the cluster says, so a new process goes on where the
// last one stood.
func (e *Engine) walk(ctx context.Context, r Record) (time.Duration, error) {
	for ctx.Err() == nil {
		next, err := e.next(ctx, r)
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

// progress is a record after one step, and when to look at it again if it waits.
type progress struct {
	record Record
	again  time.Duration
}

// stepTimeout limits one step, Helm's part of a rollback apart.
const stepTimeout = 30 * time.Second

// next takes one step. A step that was begun is finished and stored even when
// the process is told to stop meanwhile.
func (e *Engine) next(ctx context.Context, r Record) (progress, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepTimeout)
	defer cancel()
	if err := e.leads(); err != nil {
		return progress{record: r, again: lookInterval}, nil //nolint:nilerr // The new leader goes on.
	}
	now := time.Now().UTC()
	if r.Rollback != nil || r.Hold.Lasts() {
		if stopped, err := e.stopped(ctx, r); err != nil || stopped {
			return progress{record: r, again: sweepInterval}, err
		}
	}
	if r.Hold.Lasts() && !r.Decision().Rollback && !r.Decision().Waits {
		return e.watchHold(ctx, r)
	}
	if r.Rollback == nil {
		judged, err := e.judge(ctx, r)
		if err != nil || !judged.Closed.IsZero() {
			return progress{record: judged}, err
		}
		r = judged
	}
	if early := r.early(now); early > 0 {
		return progress{record: r, again: early}, nil
	}
	return e.step(ctx, r)
}

// step takes the first step that is due.
func (e *Engine) step(ctx context.Context, r Record) (progress, error) {
	d := r.Decision()
	switch {
	case r.shedDue():
		return e.shed(ctx, r, insight{})
	case d.Rollback && !r.Rollback.Finished():
		return e.rollBack(ctx, r)
	case r.Rollback.Succeeded() && !r.Raise.Finished():
		return e.raise(ctx, r)
	case r.Raise.Succeeded() && !r.Verify.Finished():
		return e.verify(ctx, r)
	case d.Hold && r.leftAtZero():
		return e.beginHold(ctx, r)
	case d.Waits:
		e.keepZeroInFlight(ctx, r)
		return progress{record: r, again: wait(d)}, nil
	case r.Hold.Lasts() && r.Rollback == nil:
		return e.watchHold(ctx, r)
	default:
		return e.close(ctx, r)
	}
}

// shedDue reports whether the weight is still to be set to zero. A shed that failed
// gives way to the rollback, if there is to be one; else it is tried on.
func (r *Record) shedDue() bool {
	d := r.Decision()
	return d.Shed && r.Rollback == nil && !r.Shed.Succeeded() && !(d.Rollback && r.Shed.Finished())
}

// stopped reports whether nothing may be written about what was begun: a person has
// paused backout, or it only observes by now. What an attempt of ours has left
// pending is marked as failed all the same, so that people can go on with Helm.
func (e *Engine) stopped(ctx context.Context, r Record) (bool, error) {
	if e.policy.Mode == ModeObserve {
		return true, nil
	}
	paused, err := e.ledger.Paused(ctx, r.Key)
	if err != nil || paused == "" {
		return false, err
	}
	return true, e.recoverOwn(ctx, r)
}

// recoverOwn marks as failed what an unfinished rollback of the record has left
// pending.
func (e *Engine) recoverOwn(ctx context.Context, r Record) error {
	if r.Rollback == nil || r.Rollback.Finished() {
		return nil
	}
	history, err := e.releases.History(ctx, r.Key)
	if errors.Is(err, ErrUnknownRelease) {
		return nil
	}
	if err != nil {
		return err
	}
	newest := history.Accused()
	if newest.Claim != r.UID || !newest.Status.Pending() {
		return nil
	}
	if err := e.releases.Recover(ctx, r.Key, newest); err != nil && !errors.Is(err, ErrMoved) {
		return err
	}
	return nil
}

// close ends the work on a record, unless somebody decided anew meanwhile. It does
// not leave behind a zero that nobody watches: what Prometheus denied is raised
// again, anything else is held.
func (e *Engine) close(ctx context.Context, r Record) (progress, error) {
	d := r.Decision()
	switch {
	case r.Shed != nil && !r.Shed.tried() && !d.Shed:
		return e.settleClaim(ctx, r)
	case r.leftAtZero() && d.Verdict == Unconfirmed:
		return e.undo(ctx, r)
	case r.leftAtZero():
		return e.beginHold(ctx, r)
	}
	closed, err := e.amend(ctx, r, func(r *Record) bool {
		if !r.Closed.IsZero() || !r.Decision().Same(d) {
			return false
		}
		r.Closed = time.Now().UTC()
		r.Hold.end(r.Closed, "the release was rolled back")
		return true
	})
	if err == nil && !closed.Closed.IsZero() {
		e.prune(ctx, r.Key)
	}
	return progress{record: closed}, err
}

// wait returns how long a waiting decision stands. What may change at any time is
// looked at by the clock.
func wait(d Decision) time.Duration {
	switch {
	case d.Verdict == NoStable && !d.Rollback:
		return sweepInterval
	case d.Again.IsZero(), d.Verdict == Unknown:
		return lookInterval
	}
	return min(max(time.Until(d.Again), lookInterval/10), sweepInterval)
}

// moveOn closes a record about a revision that is not the newest any more.
// What it has left at zero is held, so that the new revision is looked after.
func (r *Record) moveOn(now time.Time) bool {
	r.Decide(Decision{Verdict: Stale, Reason: "the release has moved on to another revision", At: now})
	if r.leftAtZero() {
		r.Hold = &Hold{Since: now}
		return true
	}
	if !r.Shed.tried() {
		r.Shed = nil
	}
	if !r.Hold.Lasts() {
		r.Closed = now
	}
	return true
}
