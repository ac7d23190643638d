package engine

import (
	"context"

	"github.com/upcommerce/backout/rollback"
)

// reportAttempt logs and measures an attempt at a step; did describes the result. A step
// that was never begun is ignored.
func (e *executor) reportAttempt(ctx context.Context, r rollback.Record, step string, s *rollback.Step, did string) {
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
	if len(r.Signals) > 0 {
		took = s.Done.Sub(r.Signals[0].Received)
	}
	e.metrics.seconds.WithLabelValues(step).Observe(took.Seconds())
	e.log.InfoContext(ctx, "step done", append(args, "duration", took, "weights", did)...)
}
