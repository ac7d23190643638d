package rollback

import (
	"context"
	"sync"
	"time"
)

// freshness is for how long what was read for a decision is good enough for the
// shed that follows it.
const freshness = 250 * time.Millisecond

// urgency is a decision that is being stored, with all that the shed which follows it
// has to know.
type urgency struct {
	facts Case
	// glanced says that the facts are those of a glance.
	glanced bool
	// stored gives the record once it is stored; closed without one, it was not.
	stored chan Record
	// seen gives what see found, once.
	seen chan insight
}

// prepare sees what a shed has to know, and has it remembered, while the decision is
// being stored: the shed need not wait for both, one after the other. It changes
// nothing. The caller says how the storing ended.
func (e *Engine) prepare(ctx context.Context, r Record, c Case, h heard) urgency {
	u := urgency{facts: c, glanced: h.glanced, stored: make(chan Record, 1), seen: make(chan insight, 1)}
	e.mu.Lock()
	e.urgent[r.Key] = u
	e.mu.Unlock()
	r = r.clone()
	go func() {
		// The request that brought the alert may end before.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepTimeout)
		defer cancel()
		u.seen <- e.seeFirst(ctx, r, u)
	}()
	return u
}

// recall returns what was prepared for the release, once, and whether it still
// counts.
func (e *Engine) recall(k Key) (urgency, bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	u, ok := e.urgent[k]
	delete(e.urgent, k)
	age := time.Since(u.facts.Now)
	return u, ok && age >= 0 && age < freshness
}

// shedFirst does the shed that this replica has stored the decision for a moment ago,
// before anything is read again, whether or not it leads. Prometheus and the live
// route may have changed the decision by now. If the shed fails, the leader's own
// attempts remain.
func (e *Engine) shedFirst(ctx context.Context, k Key) {
	u, ok := e.recall(k)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepTimeout)
	defer cancel()
	stored, ok := <-u.stored
	if !ok {
		return
	}
	seen := <-u.seen
	err := seen.blind
	if err == nil {
		err = e.shedNow(ctx, stored, u, seen)
	}
	if err != nil {
		e.later(ctx, k, stepShed, err)
	}
}

// seeFirst sees what the first shed has to know, the live route as it is at hand, and
// whether people have paused the release if a glance has not told.
func (e *Engine) seeFirst(ctx context.Context, r Record, u urgency) insight {
	var paused string
	var err error
	var asking sync.WaitGroup
	if u.glanced {
		asking.Go(func() { paused, err = e.ledger.Paused(ctx, r.Key) })
	}
	seen := e.see(ctx, r, u.facts, e.traffic.Glance)
	asking.Wait()
	seen.paused, seen.blind = paused, err
	return seen
}

// shedNow sheds, if that is still what is decided with what was seen beside the
// facts. The claim is stored already; what Prometheus said is stored together with
// what was done. Facts of a glance are looked at once more right before it is done.
func (e *Engine) shedNow(ctx context.Context, stored Record, u urgency, seen insight) error {
	now, facts := time.Now().UTC(), u.facts
	if u.glanced {
		facts.Paused = seen.paused
	}
	decide := func(r *Record) bool {
		changed := r.judge(facts, seen, now)
		if !r.Decision().Shed && !r.Shed.tried() {
			r.Shed = nil // claimed a moment ago by this process, which has not begun
		}
		return changed
	}
	r := stored.clone()
	decide(&r)
	if !r.Decision().Same(stored.Decision()) {
		var err error
		if r, err = e.amend(ctx, stored, func(r *Record) bool { return r.Rollback == nil && decide(r) }); err != nil {
			return err
		}
	}
	if !r.Closed.IsZero() || !r.Decision().Shed || r.Shed.tried() {
		return nil
	}
	seen.grounds = r.Grounds
	if u.glanced {
		seen.unchanged = e.confirm(stored, r, facts, seen, now)
	}
	_, err := e.shed(ctx, r, seen)
	return err
}
