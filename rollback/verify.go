package rollback

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Times of the judgement whether a rollback helped.
const (
	// verifyInterval is how often Prometheus is asked.
	verifyInterval = 5 * time.Second
	// verifyLag is how far back it is asked about at most, so that slow rules have
	// been evaluated since.
	verifyLag = 30 * time.Second
)

// lag returns how far back Prometheus is asked about.
func (p Policy) lag() time.Duration { return min(verifyLag, p.Verify, p.VerifyLimit-p.Verify) }

// verify finds out whether the rollback helped, once the policy's Verify has
// passed: the alert is to be quiet, and the canary to get traffic. At VerifyLimit
// it takes what there is.
func (e *Engine) verify(ctx context.Context, r Record) (progress, error) {
	if r.Verify == nil {
		stored, err := e.amend(ctx, r, func(r *Record) bool {
			r.Verify = &Step{Started: time.Now().UTC()}
			return true
		})
		return progress{record: stored}, err
	}
	due := r.Raise.Done.Add(e.policy.Verify)
	if wait := time.Until(due); wait > 0 {
		return progress{record: r, again: min(wait, sweepInterval)}, nil
	}
	history, err := e.releases.History(ctx, r.Key)
	if err != nil && !errors.Is(err, ErrUnknownRelease) {
		return progress{record: r}, err
	}
	if err != nil || history.Accused().Number != r.Made {
		return e.verified(ctx, r, "", "the release has moved on before it could be judged")
	}
	now := time.Now().UTC()
	outcome, note := e.outcome(ctx, r, later(due, now.Add(-e.policy.lag())))
	if outcome == "" && now.Before(r.Raise.Done.Add(e.policy.VerifyLimit)) {
		return progress{record: r, again: min(verifyInterval, e.policy.Verify)}, nil
	}
	if outcome == "" {
		outcome, note = e.finalOutcome(ctx, r, now)
	}
	return e.verified(ctx, r, outcome, note)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// outcome returns what can be said for certain already; "" if that is nothing.
func (e *Engine) outcome(ctx context.Context, r Record, at time.Time) (Outcome, string) {
	if e.prometheus == nil {
		if r.resolved() {
			return Restored, "Alertmanager says that the alerts are over; without Prometheus nobody knows the canary's traffic"
		}
		return "", ""
	}
	if e.answer(ctx, r, at) != AnswerQuiet {
		return "", ""
	}
	rate, err := e.prometheus.CanaryTraffic(ctx, r.Key, time.Now())
	if err != nil || rate <= e.policy.TrafficFloor {
		return "", ""
	}
	return Recovered, fmt.Sprintf("the alert is quiet, and the canary gets %.1f requests a second", rate)
}

// finalOutcome judges at the limit.
func (e *Engine) finalOutcome(ctx context.Context, r Record, now time.Time) (Outcome, string) {
	if e.prometheus == nil {
		return NotRecovered, fmt.Sprintf("Alertmanager has not said within %s that the alerts are over", e.policy.VerifyLimit)
	}
	switch e.answer(ctx, r, now.Add(-e.policy.lag())) {
	case AnswerQuiet:
		return Restored, "the alert is quiet, but the canary gets too little traffic for that to prove anything"
	case AnswerFiring:
		return NotRecovered, fmt.Sprintf("the alert still fires %s after the rollback", e.policy.VerifyLimit)
	case AnswerUnknown:
		return NotRecovered, "Prometheus could not be asked whether the alert is over"
	default:
		return NotRecovered, "nobody says that the alert is over"
	}
}

// answer asks Prometheus whether any alert of the record fired at that time: one
// that does is enough, quiet takes all.
func (e *Engine) answer(ctx context.Context, r Record, at time.Time) Answer {
	ctx, cancel := context.WithTimeout(ctx, askLong)
	defer cancel()
	all := AnswerQuiet
	for _, a := range r.Accusations {
		if !a.counts() {
			continue
		}
		switch e.prometheus.Firing(ctx, r.Key, a, at).Answer {
		case AnswerFiring:
			return AnswerFiring
		case AnswerUnknown:
			all = AnswerUnknown
		case AnswerQuiet:
		}
	}
	return all
}

// resolved reports whether Alertmanager said of every alert that it is over.
func (r *Record) resolved() bool {
	for _, a := range r.Accusations {
		if a.counts() && a.Resolved.IsZero() {
			return false
		}
	}
	return true
}

// counts reports whether a says anything about recovery: an order of a person's
// and what was only to be observed do not.
func (a Accusation) counts() bool { return a.By == "" && a.Level != LevelObserve }

func (e *Engine) verified(ctx context.Context, r Record, outcome Outcome, note string) (progress, error) {
	stored, err := e.amend(ctx, r, func(r *Record) bool {
		if outcome != "" {
			r.Outcome = outcome
		}
		r.Verify.finish(nil, maxAttempts)
		r.Verify.Note = note
		return true
	})
	if err != nil {
		return progress{record: stored}, err
	}
	if outcome != "" {
		e.metrics.outcomes.WithLabelValues(string(outcome)).Inc()
	}
	e.tell(ctx, stored, stepVerify, stored.Verify, note)
	return progress{record: stored}, nil
}
