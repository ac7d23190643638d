package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// maxLeftovers bounds how many revisions one rollback may leave behind unfinished, each
// by a process that was killed or an API server that went away.
const maxLeftovers = 5

// rollBack runs the preflight, claims the rollback in the record, then rolls back with
// Helm. A part that Helm has finished already is found in the history and not repeated.
func (e *executor) rollBack(ctx context.Context, r rollback.Record) (progress, error) {
	history, err := e.releases.History(ctx, r.Key, rollback.Stored)
	if errors.Is(err, rollback.ErrUnknownRelease) {
		return e.abandonRollback(ctx, r, "the release is gone")
	}
	if err != nil {
		return progress{record: r}, err
	}
	plan, err := e.plan(ctx, r, history)
	switch {
	case err != nil:
		return progress{record: r}, err
	case history.Newest().UID != r.UID && !failedAbove(r, history):
		return e.resume(ctx, r, history, plan)
	default:
		return e.checkedRollback(ctx, r, plan)
	}
}

// failedAbove reports whether the record's revision still runs under one that failed, and
// that another client made.
func failedAbove(r rollback.Record, history rollback.History) bool {
	_, newer := history.From(r.UID)
	return len(newer) > 0 && newer[0].Claim != r.UID && newer[0].Status == rollback.StatusFailed
}

// checkedRollback runs the preflight, again if its result is older than the rollback's last
// wait, or rolls back if its result allows that. A rollback
// that was claimed before is decided again first: the record may be old, and the release or
// the configuration another one since.
func (e *executor) checkedRollback(ctx context.Context, r rollback.Record, p rollback.Plan) (progress, error) {
	if r.Rollback == nil && !r.PreflightIsCurrent(p.Target, time.Now()) {
		return e.preflight(ctx, r, p)
	}
	if r.Rollback == nil {
		return e.executeRollback(ctx, r, p)
	}
	check, err := e.checkClaim(ctx, r, p)
	switch {
	case errors.Is(err, errPreflight):
		return e.rollbackError(ctx, r, p, err)
	case err != nil:
		return progress{record: r}, err
	case check.paused:
		return progress{record: r, again: sweepInterval}, nil
	case check.why == "":
		return e.executeRollback(ctx, r, p)
	case p.Newest.Claim == r.UID:
		return e.abandonRollback(ctx, r, check.why)
	default:
		return e.withdraw(ctx, r, check)
	}
}

// errPreflight is a failed preflight of a rollback that was begun before: it counts as an
// attempt at the rollback.
var errPreflight = errors.New("the preflight failed")

// claimCheck says whether a claimed rollback would be begun now.
type claimCheck struct {
	// why says why it would not; "" if it would.
	why       string
	paused    bool
	preflight rollback.PreflightResult
}

// checkClaim decides about a claimed rollback again, on the release's own facts of now, with a
// new preflight, and as of the time of the claim: neither an alert that has ended since, nor
// the time that has passed, nor a storm takes it back.
func (e *executor) checkClaim(ctx context.Context, r rollback.Record, p rollback.Plan) (claimCheck, error) {
	var check claimCheck
	c, err := e.facts(ctx, r)
	if errors.Is(err, rollback.ErrRevisionChanged) {
		return check, nil // RollBack finds out
	}
	if err != nil {
		return check, err
	}
	if c.Paused != "" {
		return claimCheck{paused: true}, nil
	}
	if check.preflight, err = e.releases.Preflight(ctx, p); err != nil {
		return check, fmt.Errorf("%w: %w", errPreflight, err)
	}
	began := r.Rollback.Started
	r.Preflight, r.PreflightTarget, r.Dangers, r.Owner = nil, p.Target, check.preflight.Dangers, check.preflight.Owner
	r.Signals = slices.Clone(r.Signals)
	for i, s := range r.Signals {
		if !s.Resolved.Before(began) {
			r.Signals[i].Resolved = time.Time{}
		}
	}
	c = c.With(r)
	c.Now, c.Storm, c.Routing = began, rollback.Storm{}, nil
	if d, _ := safely(c); !d.Rollback || d.Target != p.Target || d.Hold != r.HoldsTarget() {
		check.why = fmt.Sprintf("the rollback to revision %d was begun, and is not what backout would decide now (%s): %s", p.Target, d.Verdict, d.Reason)
	}
	return check, nil
}

// withdraw takes back a claim of which nothing was written. The next decision says what
// remains to be done.
func (e *executor) withdraw(ctx context.Context, r rollback.Record, check claimCheck) (progress, error) {
	e.log.WarnContext(ctx, "claimed rollback withdrawn", "namespace", r.Namespace, "release", r.Release, "revision", r.Revision, "reason", check.why)
	stored, err := e.update(ctx, r, func(r *rollback.Record) bool {
		now := time.Now().UTC()
		r.Preflight, r.PreflightTarget = &rollback.Step{Started: now}, r.Target
		r.Preflight.Finish(now, nil, maxAttempts)
		r.Rollback, r.Target = nil, 0
		r.NotePreflight(check.preflight)
		return true
	})
	return progress{record: stored}, err
}

// executeRollback claims the rollback, and rolls back with Helm.
func (e *executor) executeRollback(ctx context.Context, r rollback.Record, p rollback.Plan) (progress, error) {
	claimed := false
	r, err := e.update(ctx, r, func(r *rollback.Record) bool {
		if r.Rollback != nil {
			claimed = !r.Rollback.Finished()
			return false
		}
		claimed = r.Decision().Rollback && r.Decision().Target == p.Target && !r.Manual.Active()
		if claimed {
			r.Rollback = &rollback.Step{Started: time.Now().UTC()}
			r.Target = p.Target
		}
		return claimed
	})
	if err != nil || !claimed {
		return progress{record: r}, err
	}
	e.keepZero(ctx, r, p.Newest)
	if r.HoldsTarget() {
		if r, err = e.zeroTarget(ctx, r, p); err != nil {
			return e.rollbackError(ctx, r, p, err)
		}
	}
	helm := context.WithoutCancel(ctx)
	late := time.AfterFunc(helmPatience, func() { e.giveWay(r.Key) })
	defer late.Stop()
	made, err := e.releases.RollBack(helm, p)
	if e.leads() != nil {
		// This process no longer leads: the new leader finds out what was done.
		return progress{record: r, again: recheckInterval}, nil
	}
	ctx, cancel := context.WithTimeout(helm, stepTimeout)
	defer cancel()
	if err != nil {
		return e.rollbackError(ctx, r, p, err)
	}
	return e.rolledBack(ctx, r, made, p)
}

// compareTimeout limits the comparison of the live objects with the target.
const compareTimeout = 5 * time.Second

// differences says how the live objects differ from what the target of the plan declares.
func (e *executor) differences(ctx context.Context, p rollback.Plan) []string {
	if p.Target == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, compareTimeout)
	defer cancel()
	found, err := e.releases.Differences(ctx, p)
	if err != nil {
		found = append(found, fmt.Sprintf("the live objects could not be compared with revision %d: %s", p.Target, rollback.Printable(err.Error())))
	}
	return found
}

// rolledBack stores that Helm made that revision. The plan is the zero one if another client
// has made a newer revision since.
func (e *executor) rolledBack(ctx context.Context, r rollback.Record, made int, p rollback.Plan) (progress, error) {
	differences := e.differences(ctx, p)
	stored, err := e.update(ctx, r, func(r *rollback.Record) bool {
		r.Made = made
		r.NoteDifferences(differences)
		if p.Unheld != "" {
			r.Rollback.Note = "live routes could not be read while Helm wrote the objects: " + p.Unheld
		}
		r.Rollback.Finish(time.Now().UTC(), nil, maxAttempts)
		r.Hold.End(r.Rollback.Done, "the release was rolled back")
		return true
	})
	if err != nil {
		return progress{record: stored}, err
	}
	e.metrics.lastRollback.WithLabelValues(r.Namespace, r.Release).SetToCurrentTime()
	e.reportAttempt(ctx, stored, rollback.StepRollback, stored.Rollback, fmt.Sprintf("Helm made revision %d", made))
	return progress{record: stored}, nil
}

// rollbackError stores a rollback's error. The next attempt finds in the history how far
// this one got. One that the API server did not take on is not counted: as long as nothing is
// written, it is an obstacle if it lasts; otherwise the next one has to wait for long, since
// each leaves a revision behind.
func (e *executor) rollbackError(ctx context.Context, r rollback.Record, p rollback.Plan, cause error) (progress, error) {
	history, err := e.releases.History(ctx, r.Key, rollback.Stored)
	if err != nil {
		return progress{record: r}, err
	}
	newest := history.Newest()
	if newest.UID != r.UID && newest.Claim != r.UID && !failedAbove(r, history) {
		return e.overtaken(ctx, r, history)
	}
	if isOverload(cause) && newest.UID == p.Newest.UID {
		return progress{record: r}, cause
	}
	return e.finishRollback(ctx, r, func(r *rollback.Record, now time.Time) {
		if isOverload(cause) {
			r.Rollback.Postpone(now, cause)
			return
		}
		if r.Rollback.Finish(now, cause, maxAttempts); r.Rollback.Failed {
			failRollback(r, newest.Number)
		}
	})
}

// rollbackFailed ends a rollback that Helm began and did not finish.
func (e *executor) rollbackFailed(ctx context.Context, r rollback.Record, newest rollback.Revision, cause error) (progress, error) {
	return e.finishRollback(ctx, r, func(r *rollback.Record, now time.Time) {
		r.Rollback.Finish(now, cause, maxAttempts)
		failRollback(r, newest.Number)
	})
}

// abandonRollback ends a rollback without a command to repeat it: the release is no
// longer what it was. A record whose rollback was not begun becomes stale.
func (e *executor) abandonRollback(ctx context.Context, r rollback.Record, why string) (progress, error) {
	return e.finishRollback(ctx, r, func(r *rollback.Record, now time.Time) {
		if r.Rollback == nil {
			r.MoveOn(now)
			return
		}
		r.Rollback.Finish(now, errors.New(why), 1)
	})
}

// finishRollback stores how an attempt at the rollback ended, and reports it.
func (e *executor) finishRollback(ctx context.Context, r rollback.Record, finish func(r *rollback.Record, now time.Time)) (progress, error) {
	stored, err := e.update(ctx, r, func(r *rollback.Record) bool {
		finish(r, time.Now().UTC())
		return true
	})
	if err != nil {
		return progress{record: stored}, err
	}
	e.reportAttempt(ctx, stored, rollback.StepRollback, stored.Rollback, "")
	return progress{record: stored, again: stored.Rollback.Wait(time.Now())}, nil
}

// failRollback ends the rollback as failed. The report has the commands for an operator.
func failRollback(r *rollback.Record, newest int) {
	r.Rollback.Failed, r.Rollback.Next = true, time.Time{}
	r.Rollback.Error = fmt.Sprintf("%s; the release is at revision %d now", r.Rollback.Error, newest)
}
