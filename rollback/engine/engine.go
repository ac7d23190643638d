package engine

import (
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/upcommerce/backout/rollback"
)

// Options are the parts an Engine works with.
type Options struct {
	Releases   rollback.Releases
	Traffic    rollback.Traffic
	Ledger     rollback.Ledger
	Policy     rollback.Policy
	Registerer prometheus.Registerer
	// Prometheus confirms alerts; with nil the engine believes them. Grafana confirms those
	// whose rules it evaluates itself.
	Prometheus rollback.Prometheus
	Grafana    rollback.Evaluator
	// Notifier is nil if the team is not to be informed.
	Notifier rollback.Notifier
	// OptedIn returns how many releases are opted in, which a storm is measured by; nil if
	// that is not known.
	OptedIn func() int
	// Leads returns nil as long as this process may write to releases. It is called
	// before every step but the shed. Nil means always.
	Leads func() error
	// Board is shown every record and every refusal; nil shows them nowhere.
	Board Board
	// Log is slog.Default if nil.
	Log *slog.Logger
}

// Engine stores signals and takes the steps of their records. It is safe for
// concurrent use. Every replica stores and sheds; all other steps are the leader's.
type Engine struct {
	*executor

	notifier   rollback.Notifier
	intake     *intake
	fast       *fastPath
	reconciler *reconciler
	queue      *queue
	leftovers  leftovers
	strays     strayMarks
}

// New returns an engine that does nothing before Run. Its error names every mistake in
// the policy.
func New(o Options) (*Engine, error) {
	if o.Releases == nil || o.Traffic == nil || o.Ledger == nil || o.Registerer == nil {
		return nil, errors.New("engine: Releases, Traffic, Ledger and Registerer are required")
	}
	if err := o.Policy.Validate(); err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Board == nil {
		o.Board = noBoard{}
	}
	if o.Leads == nil {
		o.Leads = func() error { return nil }
	}
	q := newQueue()
	x := &executor{
		releases: o.Releases, traffic: o.Traffic, ledger: o.Ledger, prometheus: o.Prometheus, grafana: o.Grafana, leads: o.Leads,
		policy: o.Policy, board: o.Board, metrics: newMetrics(o.Registerer, o.Policy.Namespaces()), log: o.Log,
		enqueue: q.add, giveWay: q.giveWay, seed: maphash.MakeSeed(),
	}
	x.storms.optedIn = o.OptedIn
	fast := newFastPath(x)
	in := &intake{executor: x, fast: fast, webhooks: make(chan struct{}, maxWebhooks)}
	q.register(o.Registerer)
	return &Engine{
		executor: x, notifier: o.Notifier, intake: in, fast: fast, queue: q,
		reconciler: &reconciler{executor: x, moveSignals: in.moveSignals},
	}, nil
}

// Accept stores the signals of the alerts, and schedules their releases for the steps.
// When it returns nil, every signal that is to be stored is stored, and every refused
// alert is counted. An error means that a signal could not be stored: the sender has to
// repeat the alerts. ErrBusy means that no alert was read.
//
// Accept does not wait for any step.
func (e *Engine) Accept(ctx context.Context, alerts []rollback.Alert) error {
	return e.intake.accept(ctx, alerts)
}

// Enqueue schedules the release's open records for Run. It never blocks.
func (e *Engine) Enqueue(k rollback.Key) { e.queue.add(k) }

// StartLeading makes Run reconcile all open records at once: this process became the
// leader.
func (e *Engine) StartLeading() { wake(e.queue.led) }

// Run works on open records until ctx ends, beginning with those that an earlier
// process left, if this one leads. It returns nil after the current steps are done; a
// step that was not begun stays in its record for the next Run.
func (e *Engine) Run(ctx context.Context) error {
	var working sync.WaitGroup
	defer e.watches.stop()
	defer working.Wait()
	working.Go(func() { e.sweeps(ctx) })
	working.Go(func() { e.watchReturns(ctx) })
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-e.queue.woken:
			for _, j := range e.queue.take(e.fast.has) {
				working.Go(func() { e.work(ctx, j) })
			}
		}
	}
}

// work does the shed that is prepared for the release, then takes its records as far as
// they go now.
func (e *Engine) work(ctx context.Context, j job) {
	e.fast.run(ctx, j.key)
	var again time.Duration
	if j.reconcile {
		again = e.reconciler.reconcile(ctx, j.key)
	}
	if ctx.Err() != nil {
		again = 0
	}
	e.queue.done(j, again)
}

// sweeps looks for open records at once and then by the clock, in parallel with the
// work: however long it takes, it delays no shed. Only the leader does it.
func (e *Engine) sweeps(ctx context.Context) {
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for {
		if e.leads() == nil {
			e.sweep(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-e.queue.led:
		}
	}
}

func (e *Engine) sweep(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	// If some records could not be read, the releases that were found are worked on.
	keys, err := e.ledger.Open(ctx)
	if err != nil && ctx.Err() == nil {
		e.log.ErrorContext(ctx, "open records not readable; trying again", "error", err)
	}
	if (err == nil || len(keys) > 0) && !e.haveStorms() {
		e.readStorms(ctx, keys)
	}
	for _, k := range keys {
		e.queue.add(k)
	}
	e.leftovers.compare(ctx, e.executor)
	e.strays.compare(ctx, e.executor)
	e.watches.prune()
}

// earlier returns the earlier of two times.
func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

// OnRecord takes every record that any replica stores: the leader goes on with it, every
// replica counts it for a storm, and the notifier and the board get it.
// It never blocks.
func (e *Engine) OnRecord(r rollback.Record) {
	// Another client may have written it, or a version before that signed nothing.
	if e.notifier != nil && (!r.Unsigned || r.Closed.IsZero() && e.policy.Allows(r.Key)) {
		e.notifier.Notify(r)
	}
	e.board.SetRecord(r)
	first, seen := r.Suspected()
	// Another client may have written it: it cannot be about a release that is not opted in,
	// nor of the future.
	if !first.IsZero() && r.Decision().Verdict.Suspects() && e.policy.Allows(r.Key) {
		e.storms.note(r.Key, earlier(first, time.Now()), earlier(seen, time.Now()), e.policy.StormWindow)
	}
	e.keepStorm(r)
	if !r.Unsigned && e.policy.Allows(r.Key) {
		e.strays.note(r)
	}
	// A record that was closed just now may exceed the number that is kept.
	if (r.Closed.IsZero() || time.Since(r.Closed) < sweepInterval) && e.leads() == nil {
		e.queue.add(r.Key)
	}
}

// OnRecordGone takes every record that was deleted. It never blocks.
func (e *Engine) OnRecordGone(k rollback.Key, revision int) {
	e.storms.forget(k, revision)
	e.returns.forget(k, revision)
	e.strays.forget(k, revision)
}
