package rollback

import (
	"context"
	"time"
)

// freshness is for how long what was read for a decision is good enough for the
// shed that follows it.
const freshness = 250 * time.Millisecond

// urgency is a decision that is being stored, with all that the shed which follows it
// has to know.
type urgency struct {
	facts Case
	// stored gives the record once it is stored; closed without one, it was not.
	stored chan Record
	// seen gives what see found, once.
	seen chan insight
}

// prepare sees what a shed has to know, and has it remembered, while the decision is
// being stored: the shed need not wait for both, one after the other. It changes
// nothing. The caller says how the storing ended.
func (e *Engine) prepare(ctx context.Context, r Record, c Case) urgency {
	u := urgency{facts: c, stored: make(chan Record, 1), seen: make(chan insight, 1)}
	e.mu.Lock()
	e.urgent[r.Key] = u
	e.mu.Unlock()
	r = r.clone()
	go func() {
		// The request that brought the alert may end before.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepTimeout)
		defer cancel()
		u.seen <- e.see(ctx, r, c)
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
	if err := e.shedNow(ctx, stored, u.facts, <-u.seen); err != nil {
		e.later(ctx, k, stepShed, err)
	}
}

// shedNow sheds, if that is still what is decided with what was seen beside the
// facts. The claim is stored already; what Prometheus said is stored together with
// what was done.
func (e *Engine) shedNow(ctx context.Context, stored Record, facts Case, seen insight) error {
	now := time.Now().UTC()
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
	_, err := e.shed(ctx, r, seen)
	return err
}
