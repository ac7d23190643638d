package rollback

import (
	"context"
	"errors"
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
	args := []any{
		"namespace", r.Namespace, "release", r.Release, "revision", r.Revision,
		"step", step, "target", r.Target, "attempt", s.Attempts,
	}
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
