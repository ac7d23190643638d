package engine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/parallel"
)

// fastPathMaxAge is the age up to which the facts of a decision are good enough for the
// shed that follows it.
const fastPathMaxAge = queryBriefly

// fastPath sheds right after a decision, whether or not this replica leads. While the
// decision is being stored, a goroutine of its own gathers what the shed needs: the shed
// need not wait for both, one after the other. The release's worker then sheds before it
// does anything else, so that no other step of the release runs meanwhile. If the shed
// fails, the leader tries again. It is safe for concurrent use.
type fastPath struct {
	*executor

	mu sync.Mutex
	// prepared has the newest shed of each release that no worker has taken.
	prepared map[rollback.Key]*preparedShed
}

// preparedShed is a decision that is being stored, with what its shed needs.
type preparedShed struct {
	facts rollback.Case
	// cached says that the facts come from this process's watches, as in batch.
	cached bool
	// stored gets the record once it is stored; closed without one, it was not.
	stored chan rollback.Record
	// gathered gets what was gathered, once.
	gathered chan gathering
}

// gathering is what a shed needs besides the facts: inputs, and whether backout is
// paused, which cached facts do not say.
type gathering struct {
	inputs    inputs
	paused    string
	pausedErr error
	// panicked goes on in the step that sheds.
	panicked *parallel.Panic
}

func newFastPath(x *executor) *fastPath {
	return &fastPath{executor: x, prepared: make(map[rollback.Key]*preparedShed)}
}

// prepare gathers for the shed of a record that is being stored with a new decision. It
// changes nothing. The caller sends the stored record, if it was stored, and closes
// stored.
func (f *fastPath) prepare(ctx context.Context, r rollback.Record, facts rollback.Case, cached bool) *preparedShed {
	p := &preparedShed{facts: facts, cached: cached, stored: make(chan rollback.Record, 1), gathered: make(chan gathering, 1)}
	f.mu.Lock()
	f.prepared[r.Key] = p
	f.mu.Unlock()
	r = r.Clone()
	go func() {
		// The request that brought the alert may end before.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepTimeout)
		defer cancel()
		var g gathering
		// One that no shed takes needs no report: the leader then gathers again, in a step.
		if panicked := parallel.Try(func() { g = f.gatherFor(ctx, r, p) }); panicked != nil {
			g = gathering{panicked: panicked}
		}
		p.gathered <- g
	}()
	return p
}

// gatherFor gathers the inputs, with the live route as the API server has it cached.
func (f *fastPath) gatherFor(ctx context.Context, r rollback.Record, p *preparedShed) gathering {
	var g gathering
	var asking parallel.WaitGroup
	if p.cached {
		asking.Go(func() { g.paused, g.pausedErr = f.ledger.Paused(ctx, r.Key) })
	}
	g.inputs = f.gather(ctx, r, p.facts, rollback.Recent)
	asking.Wait()
	return g
}

// has reports whether a shed is prepared for the release.
func (f *fastPath) has(k rollback.Key) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.prepared[k]
	return ok
}

// take returns the shed that is prepared for the release, once, and whether it still
// counts.
func (f *fastPath) take(k rollback.Key) (*preparedShed, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p, ok := f.prepared[k]
	if !ok {
		return nil, false
	}
	delete(f.prepared, k)
	age := time.Since(p.facts.Now)
	return p, age >= 0 && age < fastPathMaxAge
}

// run does the shed that is prepared for the release, before anything is read again.
// Prometheus and the live route may have changed the decision since.
func (f *fastPath) run(ctx context.Context, k rollback.Key) {
	p, ok := f.take(k)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepTimeout)
	defer cancel()
	stored, ok := <-p.stored
	if !ok {
		return
	}
	g := <-p.gathered
	err := g.pausedErr
	if err == nil && !stored.SetAside() {
		f.contain(ctx, stored, func() {
			g.panicked.Raise()
			err = f.shedNow(ctx, stored, p, g)
		})
	}
	if err != nil {
		f.logAndRetry(ctx, k, rollback.StepShed, err)
	}
}

// shedNow sheds, if that is still the decision with the inputs that were gathered. The
// claim is stored already; the answers of Prometheus are stored together with what was
// done. Cached facts are checked once more right before the write.
func (f *fastPath) shedNow(ctx context.Context, stored rollback.Record, p *preparedShed, g gathering) error {
	now, facts, in := time.Now().UTC(), p.facts, g.inputs
	if p.cached {
		facts.Paused = g.paused
	}
	decide := func(r *rollback.Record) bool {
		changed := decideWith(r, facts, in, now)
		if !r.Decision().Shed && !r.Shed.Tried() {
			r.Shed = nil // this process claimed it a moment ago and has not begun
		}
		return changed
	}
	r := stored.Clone()
	decide(&r)
	if !r.Decision().Same(stored.Decision()) {
		var err error
		if r, err = f.update(ctx, stored, func(r *rollback.Record) bool { return r.Rollback == nil && decide(r) }); err != nil {
			return err
		}
	}
	if !r.Closed.IsZero() || !r.Decision().Shed || r.Shed.Tried() {
		return nil
	}
	in.trace = r.Trace
	if p.cached {
		in.precondition = f.confirm(stored, r, facts, in, now)
	}
	_, err := f.shed(ctx, r, in)
	return err
}

// confirm returns the precondition of a shed that was decided on cached facts, in
// addition to the one that the revision is the newest: it returns ErrRevisionChanged if
// the stored state of the release now leads to another decision, or if another client
// closed the record or did the shed.
func (f *fastPath) confirm(stored, decided rollback.Record, facts rollback.Case, in inputs, now time.Time) rollback.Precondition {
	return func(ctx context.Context) error {
		records, err := f.ledger.RecordsSince(ctx, stored)
		if err != nil {
			return err
		}
		own, ok := rollback.FindRecord(records, stored.Suspect())
		if !ok || !own.Closed.IsZero() || own.Shed.Tried() {
			return fmt.Errorf("the record of revision %d is closed, or its shed was done: %w", stored.Revision, rollback.ErrRevisionChanged)
		}
		// Several routes may be written at the same time: nothing that is captured changes.
		again, c := stored.Clone(), facts
		c.Records = records
		decideWith(&again, c, in, now)
		if !again.Decision().Same(decided.Decision()) {
			return fmt.Errorf("the decision is %s now: %w", again.Decision().Verdict, rollback.ErrRevisionChanged)
		}
		return nil
	}
}

// allOf returns the precondition that both hold; they are checked in parallel. A nil
// other adds nothing.
func allOf(one, other rollback.Precondition) rollback.Precondition {
	if other == nil {
		return one
	}
	return func(ctx context.Context) error {
		var checking parallel.WaitGroup
		var err error
		checking.Go(func() { err = one(ctx) })
		otherErr := other(ctx)
		checking.Wait()
		return errors.Join(err, otherErr)
	}
}
