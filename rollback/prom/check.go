package prom

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/parallel"
)

// state is what one server knows about an alert.
type state int

const (
	// unknown: the server cannot say, for the reason given.
	unknown state = iota
	// firing: it fired.
	firing
	// unlabelled: it fired without a level in its backout label.
	unlabelled
	// quiet: the rule was evaluated since, and did not fire.
	quiet
	// noRule: the server evaluates backout's rules, and does not have this one.
	noRule
	// notEvaluator: the server does not evaluate backout's rules.
	notEvaluator
)

// result is what one server answered.
type result struct {
	server int
	state  state
	// loaded says that the server has the rule.
	loaded bool
	// stored says that the server has stored the alert as firing without having the rule:
	// it counts if another server has the rule.
	stored bool
	// level is the strongest with which it fired, and since the earliest active-since time,
	// by this machine's clock; zero if the server does not report it.
	level  rollback.Level
	since  time.Time
	reason string
	// panicked goes on in the step that asks.
	panicked *parallel.Panic
}

// fired reports whether the server saw the alert firing with a level.
func (r result) fired() bool { return r.state == firing || r.stored }

// check returns what the server knows. Two requests, in parallel, are enough if the alert
// fired; quiet needs a third. It makes quiet certain: Prometheus stores the result of an
// evaluation before it counts the evaluation as done, so a query that begins after the
// evaluation was seen finds its result.
func (s server) check(ctx context.Context, i int, q query) result {
	first, now, storedErr, rulesErr := s.read(ctx, q)
	r := result{server: i, loaded: now.loaded}
	unknownFor := func(format string, args ...any) result {
		r.state, r.reason = unknown, oneLine(fmt.Sprintf(format, args...))
		return r
	}
	switch {
	case storedErr != nil:
		return unknownFor("%s", reason(storedErr))
	case !now.loaded:
		return s.withoutRule(ctx, r, first, rulesErr)
	case first.fired, now.fired:
		r.state, r.level, r.since = firing, stronger(first.level, now.level), first.since
		if r.since.IsZero() {
			r.since = first.localTime(now.since)
		}
		return r
	case first.unlabelled, now.unlabelled:
		r.state = unlabelled
		return r
	case now.failure != "":
		return unknownFor("the rule %s fails: %s; correct the rule", q.alert, now.failure)
	case now.evaluated.Before(first.serverTime(q.at)):
		return unknownFor("the rule %s was not evaluated since the time in question; query again later", q.alert)
	}
	last, err := s.storedAlert(ctx, q)
	missing := cmp.Or(first.missingLabel, now.missingLabel, last.missingLabel)
	switch {
	case err != nil:
		return unknownFor("%s", reason(err))
	case last.fired:
		r.state, r.level, r.since = firing, last.level, last.since
	case last.unlabelled:
		r.state = unlabelled
	case missing != "":
		return unknownFor("the alert %s fires there without the label %s: set it in the rule, not on the way to Alertmanager", q.alert, missing)
	default:
		r.state = quiet
	}
	return r
}

// read reads what the server has stored about the alert and what it has in memory, in
// parallel. Only what was stored says how the server's clock goes: without it, the other
// is of no use.
func (s server) read(ctx context.Context, q query) (first storedAlert, now loadedRule, storedErr, rulesErr error) {
	var reading parallel.WaitGroup
	reading.Go(func() { now, rulesErr = s.loadedRule(ctx, q) })
	first, storedErr = s.storedAlert(ctx, q)
	reading.Wait()
	return first, now, storedErr, rulesErr
}

// withoutRule completes the result of a server that does not have the rule, or that did
// not list its rules.
func (s server) withoutRule(ctx context.Context, r result, first storedAlert, rulesErr error) result {
	r.stored, r.level, r.since = first.fired, first.level, first.since
	evaluates, err := false, rulesErr
	if err == nil {
		evaluates, err = s.evaluates(ctx)
	}
	switch {
	case err != nil:
		r.state, r.reason = unknown, reason(err)
	case evaluates:
		r.state = noRule
	default:
		r.state = notEvaluator
	}
	return r
}
