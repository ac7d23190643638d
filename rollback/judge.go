package rollback

import (
	"context"
	"errors"
	"sync"
	"time"
)

// freshness is for how long what was read for a decision is good enough for the
// shed that follows it.
const freshness = 250 * time.Millisecond

// Limits on asking Prometheus: before the shed, which does not wait for longer,
// and after it.
const (
	askBriefly = freshness
	askLong    = 2 * time.Second
)

// remember keeps the case of a decision for the shed that follows at once.
func (e *Engine) remember(c Case) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.cases[c.Key] = c
}

// recall returns the case that the record was decided on a moment ago, once; nil
// if there is none.
func (e *Engine) recall(r Record) *Case {
	e.mu.Lock()
	defer e.mu.Unlock()
	c, ok := e.cases[r.Key]
	if !ok || c.History.Accused().UID != r.UID {
		return nil // another record's
	}
	delete(e.cases, r.Key)
	age := time.Since(c.Now)
	if r.Shed.tried() || age < 0 || age >= freshness {
		return nil
	}
	c = c.with(r)
	return &c
}

// look reads a release's history and records, and whether people paused it, side
// by side.
func (e *Engine) look(ctx context.Context, k Key) (heard, error) {
	h := heard{key: k}
	var errs [3]error
	var reading sync.WaitGroup
	reading.Go(func() { h.paused, errs[0] = e.ledger.Paused(ctx, k) })
	reading.Go(func() { h.records, errs[1] = e.ledger.Records(ctx, k) })
	h.history, errs[2] = e.releases.History(ctx, k)
	reading.Wait()
	return h, errors.Join(errs[:]...)
}

// facts reads what a decision about the record depends on. It returns
// ErrUnknownRelease if the release is gone, and ErrMoved if its newest revision is
// not the record's.
func (e *Engine) facts(ctx context.Context, r Record) (Case, error) {
	seen, err := e.look(ctx, r.Key)
	if err != nil {
		return Case{}, err
	}
	if seen.history.Accused().UID != r.UID {
		return Case{}, ErrMoved
	}
	now := time.Now().UTC()
	c := Case{
		Key: r.Key, History: seen.history, Records: seen.records, Paused: seen.paused,
		Storm: e.storms.besides(r.Key, e.policy, now), Policy: e.policy, Now: now,
	}
	return c.with(r), nil
}

// judge takes the decision about a record whose rollback was not begun, on what
// the cluster and Prometheus say now. A release that has moved on makes the record
// stale. What was decided a moment ago by this process, recalled, is not read again
// before the shed: only Prometheus and the live route are asked then.
func (e *Engine) judge(ctx context.Context, r Record, recalled *Case) (Record, error) {
	var c Case
	var err error
	if recalled != nil {
		c = *recalled
	} else {
		c, err = e.facts(ctx, r)
	}
	if errors.Is(err, ErrMoved) || errors.Is(err, ErrUnknownRelease) {
		now := time.Now().UTC()
		return e.amend(ctx, r, func(r *Record) bool { return r.moveOn(now) })
	}
	if err != nil {
		return r, err
	}
	var asking sync.WaitGroup
	var answers map[Episode]Confirmation
	asking.Go(func() { answers = e.ask(ctx, r, c) })
	c.Routing = e.routing(ctx, r, c)
	asking.Wait()
	now := time.Now().UTC()
	decide := func(r *Record) bool {
		confirmed := r.confirm(answers)
		c := c.with(*r)
		c.Now = now
		changed := r.Decide(Decide(c)) || confirmed
		if recalled != nil && !r.Decision().Shed && !r.Shed.tried() {
			r.Shed = nil // claimed a moment ago by this process, which has not begun
		}
		return changed
	}
	if trial := r.clone(); !decide(&trial) {
		return r, nil
	}
	return e.amend(ctx, r, func(r *Record) bool { return r.Rollback == nil && decide(r) })
}

// routing looks at the live route before a shed. What cannot be read keeps nobody
// from shedding; it is logged and left out.
func (e *Engine) routing(ctx context.Context, r Record, c Case) *Routing {
	if r.Shed.tried() || !Decide(c).Shed {
		return nil
	}
	manifest, err := e.releases.Manifest(ctx, r.Key, r.Revision)
	var routing Routing
	if err == nil {
		routing, err = e.traffic.Look(ctx, r.Key, manifest)
	}
	if err != nil {
		e.log.WarnContext(ctx, "live route not readable before the shed", "namespace", r.Namespace,
			"release", r.Release, "revision", r.Revision, "error", err)
	}
	if len(routing.Weights) == 0 {
		return nil
	}
	return &routing // what was readable counts, whatever was not
}

// ask has Prometheus confirm the accusations that it was not asked about, or could
// not answer. A shed that was not done waits askBriefly for it, no longer.
func (e *Engine) ask(ctx context.Context, r Record, c Case) map[Episode]Confirmation {
	if e.prometheus == nil {
		return nil
	}
	limit := askLong
	if !r.Shed.tried() {
		limit = askBriefly
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var mu sync.Mutex
	answers := make(map[Episode]Confirmation)
	each(r.unconfirmed(c), func(a Accusation) {
		answer := e.prometheus.Firing(ctx, r.Key, a, a.Received)
		answer.Error = clip(answer.Error, maxSummary)
		mu.Lock()
		defer mu.Unlock()
		answers[a.Episode()] = answer
	})
	return answers
}

// unconfirmed returns the accusations that Prometheus still has to say something
// about.
func (r *Record) unconfirmed(c Case) []Accusation {
	var open []Accusation
	for _, a := range r.Accusations {
		never := a.Confirmation == nil
		again := a.answer() == AnswerUnknown && c.Now.Before(c.confirmLimit(a))
		if a.Level != LevelObserve && a.By == "" && (never || again) {
			open = append(open, a)
		}
	}
	return open
}

// confirm stores what Prometheus said. It reports whether that says something
// new. No answer takes back one that was given.
func (r *Record) confirm(answers map[Episode]Confirmation) bool {
	changed := false
	for i := range r.Accusations {
		a := &r.Accusations[i]
		answer, ok := answers[a.Episode()]
		if !ok || a.Confirmation != nil && (answer.Answer == AnswerUnknown || a.answer() != AnswerUnknown) {
			continue
		}
		a.Confirmation, changed = &answer, true
	}
	return changed
}
