package rollback

import (
	"context"
	"strings"
	"time"
)

// finish ends an attempt. After the last one of limit the step has failed; before
// it, Next is when the next one is due.
func (s *Step) finish(err error, limit int) {
	s.Attempts++
	s.Next = time.Time{}
	if err == nil {
		s.Done, s.Error = time.Now().UTC(), ""
		return
	}
	s.Error = clip(err.Error(), 1000)
	if s.Failed = s.Attempts >= limit; !s.Failed {
		s.Next = time.Now().UTC().Add(min(lookInterval/10<<min(s.Attempts, 10), maxRetryWait))
	}
}

// wait returns how long it is until the next attempt, 0 if there is none.
func (s *Step) wait() time.Duration {
	if s.Finished() || s.Next.IsZero() {
		return 0
	}
	return max(time.Until(s.Next), time.Millisecond)
}

// early returns how long it is until the step in hand may be tried again.
func (r *Record) early(now time.Time) time.Duration {
	for _, s := range r.steps() {
		if s != nil && !s.Finished() && now.Before(s.Next) {
			return s.Next.Sub(now)
		}
	}
	return 0
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
	took := s.Done.Sub(r.Opened)
	if len(r.Accusations) > 0 {
		took = s.Done.Sub(r.Accusations[0].Received)
	}
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
