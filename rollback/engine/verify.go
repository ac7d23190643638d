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
// final; without one then, at the first within ConfirmLimit.
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
	if outcome == "" {
		return progress{record: r, again: verifyInterval}, nil
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
	if e.anyFiring(ctx, r, at).Answer != rollback.AnswerQuiet || e.prometheus == nil {
		return "", "" // without Prometheus, the canary's traffic is not known: the result is that at the limit
	}
	rate, err := e.prometheus.CanaryTraffic(ctx, r.Key, time.Now())
	if err != nil || rate <= e.policy.TrafficFloor {
		return "", ""
	}
	return rollback.OutcomeRecovered, fmt.Sprintf("the alert is quiet, and the canary gets %.1f requests a second", rate)
}

// finalOutcome is the outcome at the limit; "" if the servers are worth another query.
func (e *executor) finalOutcome(ctx context.Context, r rollback.Record, now time.Time) (rollback.Outcome, string) {
	if e.believesAll(r) {
		return rollback.OutcomeNotRecovered, fmt.Sprintf("Alertmanager has not said within %s that the alerts are over", e.policy.VerifyLimit)
	}
	fires := e.anyFiring(ctx, r, now.Add(-lagOf(e.policy)))
	switch fires.Answer {
	case rollback.AnswerQuiet:
		return rollback.OutcomeRestored, e.withoutProof(ctx, r)
	case rollback.AnswerFiring:
		return rollback.OutcomeNotRecovered, fmt.Sprintf("the alert still fires %s after the rollback", now.Sub(r.Restore.Done).Round(time.Second))
	case rollback.AnswerUnproven, rollback.AnswerUnknown:
	}
	limit := e.policy.VerifyLimit + e.policy.ConfirmLimit
	if now.Before(r.Restore.Done.Add(limit)) {
		return "", "" // one answer that is missing decides nothing
	}
	return rollback.OutcomeNotRecovered, fmt.Sprintf("%s until %s after the rollback whether the alert is over", fires.Error, limit)
}

// withoutProof says why an alert that is quiet does not prove that the release recovered.
func (e *executor) withoutProof(ctx context.Context, r rollback.Record) string {
	if r.HoldsTarget() {
		return "the alert is quiet; the canary stays at zero, so that nothing proves that the stable track is good"
	}
	if e.prometheus == nil {
		return "the alert is quiet, but without BACKOUT_PROMETHEUS_URLS backout does not know whether the canary gets traffic"
	}
	if _, err := e.prometheus.CanaryTraffic(ctx, r.Key, time.Now()); err != nil {
		return fmt.Sprintf("the alert is quiet, but it is not known whether the canary gets traffic: %v", err)
	}
	return "the alert is quiet, but the canary gets too little traffic for that to prove anything"
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

// anyFiring asks the servers whether any alert of the record fired at that time. One that fired is
// enough; the answer is quiet only if all are. The error of another answer says who did not answer.
func (e *executor) anyFiring(ctx context.Context, r rollback.Record, at time.Time) rollback.Confirmation {
	ctx, cancel := context.WithTimeout(ctx, queryLong)
	defer cancel()
	all := rollback.Confirmation{Answer: rollback.AnswerQuiet}
	for _, s := range r.Signals {
		if !s.CountsForRecovery() {
			continue
		}
		if e.believes(s) {
			if s.Resolved.IsZero() {
				all = rollback.Confirmation{Answer: rollback.AnswerUnknown, Error: "the sender of an alert did not say"}
			}
			continue
		}
		switch says := e.evaluatorOf(s).Firing(ctx, r.Key, s, at); says.Answer {
		case rollback.AnswerFiring:
			return says
		case rollback.AnswerUnknown, rollback.AnswerUnproven:
			all = rollback.Confirmation{Answer: rollback.AnswerUnknown, Error: s.Evaluator() + " did not answer"}
			if says.Error != "" {
				all.Error = fmt.Sprintf("%s did not answer (%s)", s.Evaluator(), says.Error)
			}
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
