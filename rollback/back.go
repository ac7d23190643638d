package rollback

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// rollBack claims the rollback in the record, then has Helm do it. What Helm
// already did is found in the history, not done again.
func (e *Engine) rollBack(ctx context.Context, r Record) (progress, error) {
	history, err := e.releases.History(ctx, r.Key)
	if errors.Is(err, ErrUnknownRelease) {
		return e.leave(ctx, r, "the release is gone")
	}
	if err != nil {
		return progress{record: r}, err
	}
	if history.Accused().UID != r.UID {
		return e.outcome(ctx, r, history)
	}
	target := max(r.Target, r.Decision().Target)
	manifest, err := e.releases.Manifest(ctx, r.Key, target)
	if err != nil {
		return progress{record: r}, err
	}
	claimed := false
	r, err = e.amend(ctx, r, func(r *Record) bool {
		if r.Rollback != nil {
			claimed = !r.Rollback.Finished()
			return false
		}
		claimed = r.Decision().Rollback && r.Decision().Target == target
		if claimed {
			r.Rollback = &Step{Started: time.Now().UTC()}
			r.Target = target
		}
		return claimed
	})
	if err != nil || !claimed {
		return progress{record: r}, err
	}
	e.keepZero(ctx, r)
	helm := context.WithoutCancel(ctx)
	made, err := e.releases.RollBack(helm, Plan{
		Key: r.Key, Accused: history.Accused(), Target: r.Target,
		HookTimeout: e.policy.RollbackTimeout, Hold: e.traffic.Hold(manifest),
	})
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
		return true
	})
	if err != nil {
		return progress{record: stored}, err
	}
	e.metrics.lastRollback.WithLabelValues(r.Namespace, r.Release).SetToCurrentTime()
	e.tell(ctx, stored, stepRollback, stored.Rollback, fmt.Sprintf("revision %d made", made))
	return progress{record: stored}, nil
}

// setback stores a rollback's error. If Helm had written nothing, the rollback
// is tried again; if it had, a person has to look.
func (e *Engine) setback(ctx context.Context, r Record, cause error) (progress, error) {
	history, err := e.releases.History(ctx, r.Key)
	if err == nil && history.Accused().UID != r.UID {
		newest := history.Accused()
		if errors.Is(cause, ErrMoved) || !r.wrote(newest) {
			return e.outcome(ctx, r, history)
		}
		return e.failed(ctx, r, newest, cause)
	}
	stored, err := e.amend(ctx, r, func(r *Record) bool {
		r.Rollback.finish(cause, maxAttempts)
		if r.Rollback.Failed {
			r.fail(r.Revision)
		}
		return true
	})
	if err != nil {
		return progress{record: stored}, err
	}
	e.tell(ctx, stored, stepRollback, stored.Rollback, "")
	return progress{record: stored, again: stored.Rollback.wait()}, nil
}

// outcome tells what became of a claimed rollback once the release is no longer
// at the accused revision: another process, or this one before it was killed,
// may have got as far as writing it.
func (e *Engine) outcome(ctx context.Context, r Record, history History) (progress, error) {
	newest := history.Accused()
	switch {
	case r.Rollback == nil:
		stored, err := e.amend(ctx, r, func(r *Record) bool { return r.moveOn(time.Now().UTC()) })
		return progress{record: stored}, err
	case !r.wrote(newest):
		return e.leave(ctx, r, fmt.Sprintf("somebody else made revision %d meanwhile (%s); it is left alone", newest.Number, newest.Description))
	case newest.Status == StatusDeployed:
		return e.rolledBack(ctx, r, newest.Number)
	case newest.Status == StatusPendingRollback && time.Since(r.Rollback.Started) < e.policy.RollbackTimeout:
		return progress{record: r, again: lookInterval}, nil
	default:
		return e.failed(ctx, r, newest, fmt.Errorf("revision %d is %s", newest.Number, newest.Status))
	}
}

// wrote reports whether the revision is the one that this record's rollback had
// Helm write. Helm describes it anew when it fails.
func (r *Record) wrote(newest Revision) bool {
	return r.Rollback != nil && newest.Number == r.Revision+1 &&
		(newest.Description == Rollback(r.Target) ||
			newest.Status == StatusFailed && strings.HasPrefix(newest.Description, fmt.Sprintf("Rollback %q failed", r.Release)))
}

// failed ends a rollback that Helm began and did not finish.
func (e *Engine) failed(ctx context.Context, r Record, newest Revision, cause error) (progress, error) {
	stored, err := e.amend(ctx, r, func(r *Record) bool {
		r.Made = newest.Number
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
