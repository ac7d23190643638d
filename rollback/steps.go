package rollback

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// maxAttempts bounds how often a step that changes something is tried.
const maxAttempts = 5

// settle walks every open record of the release and returns when to look again,
// 0 if nothing waits.
func (e *Engine) settle(ctx context.Context, k Key) time.Duration {
	records, err := e.ledger.Records(ctx, k)
	if err != nil {
		return e.later(ctx, k, "read the records", err)
	}
	var soonest time.Duration
	for _, r := range records {
		if !r.Closed.IsZero() {
			continue
		}
		again, err := e.walk(ctx, r)
		if err != nil {
			again = e.later(ctx, k, "walk the steps", err)
		}
		if again > 0 && (soonest == 0 || again < soonest) {
			soonest = again
		}
	}
	return soonest
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
	if r.Rollback == nil {
		decided, err := e.redecide(ctx, r)
		if err != nil || !decided.Closed.IsZero() {
			return progress{record: decided}, err
		}
		r = decided
	}
	d := r.Decision()
	switch {
	case d.Shed && !r.Shed.Finished():
		return e.shed(ctx, r)
	case d.Rollback && !r.Rollback.Finished():
		return e.rollBack(ctx, r)
	case r.Rollback.Succeeded() && !r.Raise.Finished():
		return e.raise(ctx, r)
	case d.Verdict.Effect().Waits:
		return progress{record: r, again: wait(d)}, nil
	default:
		closed, err := e.amend(ctx, r, func(r *Record) bool {
			if !r.Closed.IsZero() || !r.Decision().Same(d) {
				return false
			}
			r.Closed = time.Now().UTC()
			return true
		})
		return progress{record: closed}, err
	}
}

// wait returns how long a waiting decision stands.
func wait(d Decision) time.Duration {
	if d.Again.IsZero() {
		return lookInterval
	}
	return max(time.Until(d.Again), lookInterval/10)
}

// redecide takes the decision again on what the cluster says now. A release that
// has moved on makes the record stale.
func (e *Engine) redecide(ctx context.Context, r Record) (Record, error) {
	history, err := e.releases.History(ctx, r.Key)
	if err != nil && !errors.Is(err, ErrUnknownRelease) {
		return r, err
	}
	now := time.Now().UTC()
	if err != nil || history.Accused().UID != r.UID {
		return e.amend(ctx, r, func(r *Record) bool {
			r.Decide(Decision{Verdict: Stale, Reason: "the release has moved on to another revision", At: now})
			r.Closed = now
			return true
		})
	}
	records, err := e.ledger.Records(ctx, r.Key)
	if err != nil {
		return r, err
	}
	return e.amend(ctx, r, func(r *Record) bool {
		return r.Decide(Decide(Case{
			Accusations: r.Accusations, History: history, Records: records, Policy: e.policy, Now: now,
		}))
	})
}

// shed sets the canary's weight to zero. A shed that cannot be done does not
// keep the rollback from being done.
func (e *Engine) shed(ctx context.Context, r Record) (progress, error) {
	started := time.Now().UTC()
	manifest, err := e.releases.Manifest(ctx, r.Key, r.Revision)
	var weights []Weight
	if err == nil {
		weights, err = e.traffic.Shed(ctx, r.Key, manifest)
	}
	stored, saveErr := e.amend(ctx, r, func(r *Record) bool {
		if r.Shed == nil {
			r.Shed = &Step{Started: started}
		}
		if len(weights) > 0 {
			r.Weights = weights
		}
		r.Shed.finish(err)
		return true
	})
	e.tell(ctx, stored, stepShed, stored.Shed, describe(weights))
	return progress{record: stored, again: retry(stored.Shed)}, saveErr
}

// rollBack claims the rollback in the record, then has Helm do it. What Helm
// already did is found in the history, not done again.
func (e *Engine) rollBack(ctx context.Context, r Record) (progress, error) {
	history, err := e.releases.History(ctx, r.Key)
	if err != nil {
		return progress{record: r}, err
	}
	if history.Accused().UID != r.UID {
		return e.outcome(ctx, r, history)
	}
	target := r.Decision().Target
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
	helm := context.WithoutCancel(ctx)
	made, err := e.releases.RollBack(helm, Plan{
		Key: r.Key, Accused: history.Accused(), Target: r.Target,
		HookTimeout: e.policy.RollbackTimeout, Hold: e.traffic.Hold,
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
		r.Rollback.finish(nil)
		return true
	})
	e.metrics.lastRollback.WithLabelValues(r.Namespace, r.Release).SetToCurrentTime()
	e.tell(ctx, stored, stepRollback, stored.Rollback, fmt.Sprintf("revision %d made", made))
	return progress{record: stored}, err
}

// setback stores a rollback's error. If Helm had written nothing, the rollback
// is tried again; if it had, a person has to look.
func (e *Engine) setback(ctx context.Context, r Record, cause error) (progress, error) {
	history, err := e.releases.History(ctx, r.Key)
	written := err == nil && history.Accused().UID != r.UID
	if written && errors.Is(cause, ErrMoved) {
		return e.outcome(ctx, r, history)
	}
	stored, err := e.amend(ctx, r, func(r *Record) bool {
		r.Rollback.finish(cause)
		if written {
			r.fail(history.Accused().Number)
		}
		return true
	})
	e.tell(ctx, stored, stepRollback, stored.Rollback, "")
	return progress{record: stored, again: retry(stored.Rollback)}, err
}

// outcome tells what became of a claimed rollback once the release is no longer
// at the accused revision: another process, or this one before it was killed,
// may have got as far as writing it.
func (e *Engine) outcome(ctx context.Context, r Record, history History) (progress, error) {
	newest := history.Accused()
	ours := r.Rollback != nil && newest.Number == r.Revision+1 && newest.Description == Rollback(r.Target)
	if ours && newest.Status == StatusDeployed {
		return e.rolledBack(ctx, r, newest.Number)
	}
	if ours && newest.Status == StatusPendingRollback && time.Since(r.Rollback.Started) < e.policy.RollbackTimeout {
		return progress{record: r, again: lookInterval}, nil
	}
	stored, err := e.amend(ctx, r, func(r *Record) bool {
		switch {
		case r.Rollback == nil:
			r.Decide(Decision{Verdict: Stale, Reason: "the release has moved on to another revision", At: time.Now().UTC()})
			r.Closed = time.Now().UTC()
		case ours:
			r.Rollback.finish(fmt.Errorf("revision %d is %s", newest.Number, newest.Status))
			r.fail(newest.Number)
		default:
			r.Rollback.finish(fmt.Errorf("somebody else made revision %d meanwhile (%s); it is left alone", newest.Number, newest.Description))
			r.Rollback.Failed = true
		}
		return true
	})
	e.tell(ctx, stored, stepRollback, stored.Rollback, "")
	return progress{record: stored}, err
}

// Rollback returns the description that Helm gives a revision made by rolling
// back to the target.
func Rollback(target int) string { return fmt.Sprintf("Rollback to %d", target) }

// fail ends the rollback as failed and says what a person would run.
func (r *Record) fail(newest int) {
	r.Rollback.Failed = true
	r.Rollback.Error = fmt.Sprintf("%s; the release is at revision %d now: look with `helm history %s -n %s`, then `helm rollback %s %d -n %s`",
		r.Rollback.Error, newest, r.Release, r.Namespace, r.Release, r.Target, r.Namespace)
}

// raise gives the canary the weight that the target declares, once the target's
// workloads are ready.
func (e *Engine) raise(ctx context.Context, r Record) (progress, error) {
	history, err := e.releases.History(ctx, r.Key)
	if err != nil {
		return progress{record: r}, err
	}
	if history.Accused().Number != r.Made {
		stored, err := e.amend(ctx, r, func(r *Record) bool {
			r.Raise = &Step{Started: time.Now().UTC(), Failed: true, Error: "the release has moved on to another revision, whose weights stand"}
			return true
		})
		return progress{record: stored}, err
	}
	ready, waiting, err := e.releases.Ready(ctx, r.Key, r.Made)
	if err != nil {
		return progress{record: r}, err
	}
	if !ready {
		stored, err := e.amend(ctx, r, func(r *Record) bool {
			if r.Raise == nil {
				r.Raise = &Step{Started: time.Now().UTC()}
			} else if r.Raise.Error == waiting {
				return false
			}
			r.Raise.Error = waiting
			return true
		})
		return progress{record: stored, again: lookInterval}, err
	}
	manifest, err := e.releases.Manifest(ctx, r.Key, r.Made)
	var weights []Weight
	if err == nil {
		weights, err = e.traffic.Raise(ctx, r.Key, manifest)
	}
	stored, saveErr := e.amend(ctx, r, func(r *Record) bool {
		if r.Raise == nil {
			r.Raise = &Step{Started: time.Now().UTC()}
		}
		r.Raise.finish(err)
		return true
	})
	e.tell(ctx, stored, stepRaise, stored.Raise, describe(weights))
	return progress{record: stored, again: retry(stored.Raise)}, saveErr
}

// finish ends an attempt. After the last one the step has failed.
func (s *Step) finish(err error) {
	s.Attempts++
	if err == nil {
		s.Done, s.Error = time.Now().UTC(), ""
		return
	}
	s.Error = clip(err.Error(), 1000)
	s.Failed = s.Attempts >= maxAttempts
}

// retry returns when to try an unfinished step again, 0 if it is finished.
func retry(s *Step) time.Duration {
	if s.Finished() {
		return 0
	}
	return lookInterval / 10 << s.Attempts
}

// tell logs and measures an attempt.
func (e *Engine) tell(ctx context.Context, r Record, step string, s *Step, what string) {
	if s == nil {
		return
	}
	args := []any{"namespace", r.Namespace, "release", r.Release, "revision", r.Revision,
		"step", step, "target", r.Target, "attempt", s.Attempts}
	if !s.Succeeded() {
		e.metrics.steps.WithLabelValues(step, "error").Inc()
		e.log.ErrorContext(ctx, "step failed", append(args, "error", s.Error)...)
		return
	}
	e.metrics.steps.WithLabelValues(step, "ok").Inc()
	took := s.Done.Sub(r.Accusations[0].Received)
	e.metrics.seconds.WithLabelValues(step).Observe(took.Seconds())
	e.log.InfoContext(ctx, "step done", append(args, "duration", took, "weights", what)...)
}

func describe(weights []Weight) string {
	texts := make([]string, len(weights))
	for i, w := range weights {
		texts[i] = w.String()
	}
	return strings.Join(texts, ", ")
}
