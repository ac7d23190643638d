package rollback

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// maxRemains bounds how many revisions one rollback may leave behind unfinished,
// each by a process that was killed or an API server that went away.
const maxRemains = 5

// rollBack looks ahead, claims the rollback in the record, then has Helm do it.
// What Helm already did is found in the history, not done again.
func (e *Engine) rollBack(ctx context.Context, r Record) (progress, error) {
	history, err := e.releases.History(ctx, r.Key)
	if errors.Is(err, ErrUnknownRelease) {
		return e.leave(ctx, r, "the release is gone")
	}
	if err != nil {
		return progress{record: r}, err
	}
	newest := history.Accused()
	plan, err := e.plan(ctx, r, history)
	switch {
	case err != nil:
		return progress{record: r}, err
	case newest.UID != r.UID:
		return e.resume(ctx, r, history, plan)
	case r.Rollback == nil && r.Checked != plan.Target:
		return e.check(ctx, r, plan)
	default:
		return e.write(ctx, r, plan)
	}
}

// plan says what Helm is to do. The canary's weight is held at zero meanwhile,
// unless it was not to be touched.
func (e *Engine) plan(ctx context.Context, r Record, history History) (Plan, error) {
	target := max(r.Target, r.Decision().Target)
	p := Plan{Key: r.Key, Newest: history.Accused(), Target: target, HookTimeout: e.policy.RollbackTimeout}
	p.Accused, _ = history.Named(r.Revision)
	if r.Decision().Verdict == NoStable {
		return p, nil
	}
	manifest, err := e.releases.Manifest(ctx, r.Key, target)
	if err == nil {
		p.Hold, err = e.traffic.Hold(ctx, r.Key, manifest)
	}
	return p, err
}

// check looks ahead before anything is claimed; the next decision is taken on what
// was found.
func (e *Engine) check(ctx context.Context, r Record, p Plan) (progress, error) {
	started := time.Now().UTC()
	outlook, checkErr := e.releases.Check(ctx, p)
	for i := range outlook.Dangers {
		outlook.Dangers[i].What = clip(outlook.Dangers[i].What, maxSummary)
	}
	stored, err := e.amend(ctx, r, func(r *Record) bool {
		if r.Rollback != nil {
			return false
		}
		if r.Check == nil || r.Check.Finished() {
			r.Check = &Step{Started: started}
		}
		if r.Check.finish(checkErr, maxAttempts); checkErr != nil {
			return true
		}
		r.Checked, r.Owner = p.Target, outlook.Owner
		r.Dangers = outlook.Dangers[:min(len(outlook.Dangers), maxDangers)]
		return true
	})
	if err != nil {
		return progress{record: stored}, err
	}
	if checkErr != nil {
		e.log.ErrorContext(ctx, "look ahead failed", "namespace", r.Namespace, "release", r.Release,
			"revision", r.Revision, "target", p.Target, "attempt", stored.Check.Attempts, "error", checkErr)
	}
	return progress{record: stored, again: stored.Check.wait()}, nil
}

// resume goes on with a claimed rollback once the release is no longer at the
// accused revision: this process, or one before it, got as far as writing the next
// one.
func (e *Engine) resume(ctx context.Context, r Record, history History, p Plan) (progress, error) {
	newest := history.Accused()
	switch {
	case r.Rollback == nil:
		stored, err := e.amend(ctx, r, func(r *Record) bool { return r.moveOn(time.Now().UTC()) })
		return progress{record: stored}, err
	case newest.Claim != r.UID || p.Accused.UID != r.UID:
		return e.overtaken(ctx, r, history)
	case newest.Status == StatusDeployed:
		return e.rolledBack(ctx, r, newest.Number)
	case newest.Status.Pending():
		// Only the leader comes here, and it has no other rollback of this release
		// in hand: whoever wrote this revision is dead or no longer the leader.
		err := e.releases.Recover(ctx, r.Key, newest)
		if errors.Is(err, ErrMoved) {
			return progress{record: r, again: lookInterval}, nil
		}
		if err != nil {
			return progress{record: r}, err
		}
		e.log.WarnContext(ctx, "interrupted rollback recovered", "namespace", r.Namespace, "release", r.Release, "revision", newest.Number)
		return progress{record: r}, nil
	case newest.Number-r.Revision >= maxRemains:
		return e.failed(ctx, r, newest, fmt.Errorf("revision %d is %s, the last of %d attempts", newest.Number, newest.Status, maxRemains))
	default:
		return e.write(ctx, r, p)
	}
}

// overtaken ends a rollback that somebody else's revision followed.
func (e *Engine) overtaken(ctx context.Context, r Record, history History) (progress, error) {
	for _, made := range history {
		if made.Claim == r.UID && (made.Status == StatusDeployed || made.Status == StatusSuperseded) {
			return e.rolledBack(ctx, r, made.Number)
		}
	}
	newest := history.Accused()
	return e.leave(ctx, r, fmt.Sprintf("somebody else made revision %d meanwhile (%s); it is left alone", newest.Number, newest.Description))
}

// write claims the rollback and has Helm write it.
func (e *Engine) write(ctx context.Context, r Record, p Plan) (progress, error) {
	claimed := false
	r, err := e.amend(ctx, r, func(r *Record) bool {
		if r.Rollback != nil {
			claimed = !r.Rollback.Finished()
			return false
		}
		claimed = r.Decision().Rollback && r.Decision().Target == p.Target
		if claimed {
			r.Rollback = &Step{Started: time.Now().UTC()}
			r.Target = p.Target
		}
		return claimed
	})
	if err != nil || !claimed {
		return progress{record: r}, err
	}
	e.keepZero(ctx, r, p.Newest)
	helm := context.WithoutCancel(ctx)
	made, err := e.releases.RollBack(helm, p)
	if e.leads() != nil {
		// Not this process's to tell any more: the new leader finds what was done.
		return progress{record: r, again: lookInterval}, nil
	}
	ctx, cancel := context.WithTimeout(helm, stepTimeout)
	defer cancel()
	if err != nil {
		return e.setback(ctx, r, err)
	}
	return e.rolledBack(ctx, r, made)
}

func (e *Engine) rolledBack(ctx context.Context, r Record, made int) (progress, error) {
	stored, err := e.amend(ctx, r, func(r *Record) bool {
		r.Made = made
		r.Rollback.finish(nil, maxAttempts)
		r.Hold.end(r.Rollback.Done, "the release was rolled back")
		return true
	})
	if err != nil {
		return progress{record: stored}, err
	}
	e.metrics.lastRollback.WithLabelValues(r.Namespace, r.Release).SetToCurrentTime()
	e.tell(ctx, stored, stepRollback, stored.Rollback, fmt.Sprintf("revision %d made", made))
	return progress{record: stored}, nil
}

// setback stores a rollback's error. The next attempt finds in the history how far
// this one came.
func (e *Engine) setback(ctx context.Context, r Record, cause error) (progress, error) {
	history, err := e.releases.History(ctx, r.Key)
	if err != nil {
		return progress{record: r}, err
	}
	if newest := history.Accused(); newest.UID != r.UID && newest.Claim != r.UID {
		return e.overtaken(ctx, r, history)
	}
	stored, err := e.amend(ctx, r, func(r *Record) bool {
		r.Rollback.finish(cause, maxAttempts)
		if r.Rollback.Failed {
			r.fail(history.Accused().Number)
		}
		return true
	})
	if err != nil {
		return progress{record: stored}, err
	}
	e.tell(ctx, stored, stepRollback, stored.Rollback, "")
	return progress{record: stored, again: stored.Rollback.wait()}, nil
}

// failed ends a rollback that Helm began and did not finish.
func (e *Engine) failed(ctx context.Context, r Record, newest Revision, cause error) (progress, error) {
	stored, err := e.amend(ctx, r, func(r *Record) bool {
		r.Rollback.finish(cause, maxAttempts)
		r.fail(newest.Number)
		return true
	})
	if err != nil {
		return progress{record: stored}, err
	}
	e.tell(ctx, stored, stepRollback, stored.Rollback, "")
	return progress{record: stored}, nil
}

// leave ends a rollback without a hint to repeat it: the release is no longer
// what it was.
func (e *Engine) leave(ctx context.Context, r Record, why string) (progress, error) {
	stored, err := e.amend(ctx, r, func(r *Record) bool {
		if r.Rollback == nil {
			return r.moveOn(time.Now().UTC())
		}
		r.Rollback.finish(errors.New(why), 1)
		return true
	})
	if err != nil {
		return progress{record: stored}, err
	}
	e.tell(ctx, stored, stepRollback, stored.Rollback, "")
	return progress{record: stored}, nil
}

// Rollback returns the description that Helm gives a revision made by rolling
// back to the target.
func Rollback(target int) string { return fmt.Sprintf("Rollback to %d", target) }

// fail ends the rollback as failed and says what a person would run.
func (r *Record) fail(newest int) {
	r.Rollback.Failed, r.Rollback.Next = true, time.Time{}
	r.Rollback.Error = fmt.Sprintf("%s; the release is at revision %d now: look with `helm history %s -n %s`, then `helm rollback %s %d -n %s`",
		r.Rollback.Error, newest, r.Release, r.Namespace, r.Release, r.Target, r.Namespace)
}
