package prom

import (
	"context"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/parallel"
)

// pool is a fixed set of servers that evaluate the same rules. It is safe for concurrent use.
type pool struct {
	kind       kind
	evaluators []evaluator
	watch      *watch
}

// evaluator is one server of a pool.
type evaluator interface {
	// label names it in errors and logs.
	label() string
	// check returns what it knows about the alert, as the i-th server of its pool.
	check(ctx context.Context, i int, q query) result
	// evaluates reports whether it has an alert rule whose backout label requests something.
	evaluates(ctx context.Context) (bool, error)
	// evidenceFrom returns since when the alert's rule looked back, by this machine's clock; the
	// zero time if it does not say, or if the alert does not fire.
	evidenceFrom(ctx context.Context, q query) time.Time
}

// noAnswer is the reason for a server that has not answered when ctx ends.
const noAnswer = "no answer in time"

// Firing queries all servers in parallel whether the signal's alert fired at that time
// or at any time from then until now. An alert that fired only after its receipt counts:
// one server of a pair may be later than the other. So does one that no longer fires,
// because a shed quiets its own alert.
//
// It returns AnswerFiring if one server reports the alert firing with a level in its
// backout label and one has its rule, with the strongest such level and the earliest
// active-since time of all series of all servers, by this machine's clock: a server that
// was restarted may have begun to count later. From the first such answer on that is not
// weaker than the signal, Firing waits for the others until they have answered, 100 ms
// have passed or ctx ends, whichever comes first; what comes later does not count. So the
// result does not depend on which server is the fastest, as long as all are up.
//
// The other answers need one of every server that evaluates backout's rules. Firing
// returns AnswerUnproven if none of them has the rule, or if the alert fires without such
// a label. It returns AnswerQuiet if no server saw the alert firing, at least one has the
// rule, and each that has it has evaluated it since that time. Everything else is
// AnswerUnknown, with the reasons on one line: a server that did not answer before ctx
// ended, a rule that fails or that was not evaluated since, or no server that evaluates
// backout's rules. So the answer about the present moment is AnswerUnknown: to learn
// whether an alert is quiet now, the caller passes a time at least one evaluation ago.
//
// Times are compared as distances from each server's own present, so that a server whose
// clock is wrong answers like any other.
func (p *pool) Firing(ctx context.Context, k rollback.Key, s rollback.Signal, at time.Time) rollback.Confirmation {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	q := query{
		alert: s.Alert, namespace: k.Namespace, release: k.Release, version: comparableVersion(s.Version), level: s.Level, at: at,
	}
	results := make(chan result, len(p.evaluators))
	for i, s := range p.evaluators {
		go func() {
			var r result
			panicked := parallel.Try(func() { r = s.check(ctx, i, q) })
			r.panicked = panicked
			results <- r
		}()
	}
	return p.collect(ctx, q, results)
}

// EvidenceFrom queries all servers in parallel how far the alert's rule looked back when it was
// last evaluated, by this machine's clock. It returns the latest time of those that see the
// alert firing because its condition is true, and the zero time if no server does: an alert that
// fires because of keep_firing_for alone has no evidence of now.
//
// How far a rule looks back is what its annotation `window` says, else the longest range of its
// expression. The windows of recorded series are not known: a rule that queries them needs the
// annotation.
func (p *pool) EvidenceFrom(ctx context.Context, k rollback.Key, s rollback.Signal) time.Time {
	q := query{alert: s.Alert, namespace: k.Namespace, release: k.Release, version: comparableVersion(s.Version)}
	found := make([]time.Time, len(p.evaluators))
	var asking parallel.WaitGroup
	for i, server := range p.evaluators {
		asking.Go(func() { found[i] = server.evidenceFrom(ctx, q) })
	}
	asking.Wait()
	var latest time.Time
	for _, from := range found {
		latest = rollback.Later(latest, from)
	}
	return latest
}
