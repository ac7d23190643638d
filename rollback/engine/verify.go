package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// Times of the verification.
const (
	// verifyInterval is how often Prometheus is asked.
	verifyInterval = 5 * time.Second
	// verifyLag is how far back it is asked about at most, so that slow rules have been
	// evaluated since.
	verifyLag = 30 * time.Second
)

// lagOf returns how far back Prometheus is asked about.
func lagOf(p rollback.Policy) time.Duration {
	return min(verifyLag, p.Verify, p.VerifyLimit-p.Verify)
}

// verify finds out whether the rollback helped, once the policy's Verify has passed: the
// alert has to be quiet, and the canary has to get traffic. At VerifyLimit the answer is
// final.
func (e *executor) verify(ctx context.Context, r rollback.Record) (progress, error) {
	if r.Verify == nil {
		stored, err := e.update(ctx, r, func(r *rollback.Record) bool {
			r.Verify = &rollback.Step{Started: time.Now().UTC()}
			return true
		})
		return progress{record: stored}, err
	}
	due := r.Restore.Done.Add(e.policy.Verify)
	if wait := time.Until(due); wait > 0 {
		return progress{record: r, again: min(wait, sweepInterval)}, nil
	}
	history, err := e.releases.History(ctx, r.Key, rollback.Stored)
	if err != nil && !errors.Is(err, rollback.ErrUnknownRelease) {
		return progress{record: r}, err
	}
	if err != nil || history.Newest().Number != r.Made {
		return e.verified(ctx, r, "", "the release moved on before the outcome was known")
	}
	now := time.Now().UTC()
	outcome, note := e.outcome(ctx, r, rollback.Later(due, now.Add(-lagOf(e.policy))))
	if outcome == "" && now.Before(r.Restore.Done.Add(e.policy.VerifyLimit)) {
		return progress{record: r, again: min(verifyInterval, e.policy.Verify)}, nil
	}
	if outcome == "" {
		outcome, note = e.finalOutcome(ctx, r, now)
	}
	return e.verified(ctx, r, outcome, note)
}

// outcome returns the outcome if it is certain already; "" otherwise.
func (e *executor) outcome(ctx context.Context, r rollback.Record, at time.Time) (rollback.Outcome, string) {
	if e.believesAll(r) {
		switch {
		case !r.Resolved():
			return "", ""
		case e.prometheus == nil:
			return rollback.OutcomeRestored, "Alertmanager says that the alerts are over; without Prometheus backout does not know the canary's traffic"
		default:
			return rollback.OutcomeRestored, "the sender says that the alerts are over; backout confirms nothing that it posts"
		}
	}
	if e.anyFiring(ctx, r, at) != rollback.AnswerQuiet || e.prometheus == nil {
		return "", "" // without Prometheus, the canary's traffic is not known: the result is that at the limit
	}
	rate, err := e.prometheus.CanaryTraffic(ctx, r.Key, time.Now())
	if err != nil || rate <= e.policy.TrafficFloor {
		return "", ""
	}
	return rollback.OutcomeRecovered, fmt.Sprintf("the alert is quiet, and the canary gets %.1f requests a second", rate)
}

// finalOutcome is the outcome at the limit.
func (e *executor) finalOutcome(ctx context.Context, r rollback.Record, now time.Time) (rollback.Outcome, string) {
	if e.believesAll(r) {
		return rollback.OutcomeNotRecovered, fmt.Sprintf("Alertmanager has not said within %s that the alerts are over", e.policy.VerifyLimit)
	}
	switch e.anyFiring(ctx, r, now.Add(-lagOf(e.policy))) {
	case rollback.AnswerQuiet:
		if r.HoldsTarget() {
			return rollback.OutcomeRestored, "the alert is quiet; the canary stays at zero, so that nothing proves that the stable track is good"
		}
		return rollback.OutcomeRestored, "the alert is quiet, but the canary gets too little traffic for that to prove anything"
	case rollback.AnswerFiring:
		return rollback.OutcomeNotRecovered, fmt.Sprintf("the alert still fires %s after the rollback", e.policy.VerifyLimit)
	case rollback.AnswerUnknown, rollback.AnswerUnproven:
		return rollback.OutcomeNotRecovered, r.Evaluator() + " did not answer whether the alert is over"
	default:
		return rollback.OutcomeNotRecovered, r.Evaluator() + " does not say that the alert is over"
	}
}

// believesAll reports whether there is no server that backout can ask, or nothing to ask about
// any alert of the record.
func (e *executor) believesAll(r rollback.Record) bool {
	if e.prometheus == nil && e.grafana == nil {
		return true
	}
	counting := slices.DeleteFunc(slices.Clone(r.Signals), func(s rollback.Signal) bool { return !s.CountsForRecovery() })
	return len(counting) > 0 && !slices.ContainsFunc(counting, func(s rollback.Signal) bool { return !e.believes(s) })
}

// anyFiring asks Prometheus whether any alert of the record fired at that time. One that
// fired is enough; the answer is quiet only if all are.
func (e *executor) anyFiring(ctx context.Context, r rollback.Record, at time.Time) rollback.Answer {
	ctx, cancel := context.WithTimeout(ctx, queryLong)
	defer cancel()
	all := rollback.AnswerQuiet
	for _, s := range r.Signals {
		if !s.CountsForRecovery() {
			continue
		}
		if e.believes(s) {
			if s.Resolved.IsZero() {
				all = rollback.AnswerUnknown
			}
			continue
		}
		switch e.evaluatorOf(s).Firing(ctx, r.Key, s, at).Answer {
		case rollback.AnswerFiring:
			return rollback.AnswerFiring
		case rollback.AnswerUnknown, rollback.AnswerUnproven:
			all = rollback.AnswerUnknown
		case rollback.AnswerQuiet:
		}
	}
	return all
}

func (e *executor) verified(ctx context.Context, r rollback.Record, outcome rollback.Outcome, note string) (progress, error) {
	stored, err := e.update(ctx, r, func(r *rollback.Record) bool {
		if outcome != "" {
			r.Outcome = outcome
		}
		r.Verify.Finish(time.Now().UTC(), nil, maxAttempts)
		r.Verify.Note = note
		return true
	})
	if err != nil {
		return progress{record: stored}, err
	}
	if outcome != "" {
		e.metrics.outcomes.WithLabelValues(string(outcome)).Inc()
	}
	e.reportAttempt(ctx, stored, rollback.StepVerify, stored.Verify, note)
	return progress{record: stored}, nil
}
