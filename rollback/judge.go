package rollback

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Limits on asking Prometheus: before the shed, which does not wait for longer,
// and after it.
const (
	askBriefly = freshness
	askLong    = 2 * time.Second
)

// look reads a release's history and records, and whether people paused it, side
// by side. The records are read by the function given.
func (e *Engine) look(ctx context.Context, k Key, records func(context.Context, Key) ([]Record, error)) (heard, error) {
	h := heard{key: k}
	var errs [3]error
	var reading sync.WaitGroup
	reading.Go(func() { h.paused, errs[0] = e.ledger.Paused(ctx, k) })
	reading.Go(func() { h.records, errs[1] = records(ctx, k) })
	h.history, errs[2] = e.releases.History(ctx, k)
	reading.Wait()
	return h, errors.Join(errs[:]...)
}

// facts reads what a decision about the record depends on. It returns
// ErrUnknownRelease if the release is gone, and ErrMoved, with what was read, if its
// newest revision is not the record's.
func (e *Engine) facts(ctx context.Context, r Record) (Case, error) {
	seen, err := e.look(ctx, r.Key, e.ledger.Records)
	if err != nil {
		return Case{}, err
	}
	now := time.Now().UTC()
	c := Case{
		Key: r.Key, History: seen.history, Records: seen.records, Paused: seen.paused,
		Storm: e.storms.besides(r.Key, e.policy, now), Policy: e.policy, Now: now,
	}
	if seen.history.Accused().UID != r.UID {
		return c, ErrMoved
	}
	return c.with(r), nil
}

// judge takes the decision about a record whose rollback was not begun, on what
// the cluster and Prometheus say now. A release that has moved on makes the record
// stale; what was filed there though it is about the newest revision goes to its
// record first.
func (e *Engine) judge(ctx context.Context, r Record) (Record, error) {
	c, err := e.facts(ctx, r)
	if errors.Is(err, ErrMoved) {
		if err := e.refile(ctx, r, c); err != nil {
			return r, err
		}
	}
	if errors.Is(err, ErrMoved) || errors.Is(err, ErrUnknownRelease) {
		now := time.Now().UTC()
		return e.amend(ctx, r, func(r *Record) bool { return r.moveOn(now) })
	}
	if err != nil {
		return r, err
	}
	seen := e.see(ctx, r, c, e.traffic.Look)
	now := time.Now().UTC()
	if trial := r.clone(); !trial.judge(c, seen, now) {
		return r, nil
	}
	return e.amend(ctx, r, func(r *Record) bool { return r.Rollback == nil && r.judge(c, seen, now) })
}

// judge takes the decision on the facts and on what was seen beside them. It reports
// whether that says something new.
func (r *Record) judge(c Case, seen insight, now time.Time) bool {
	confirmed := r.confirm(seen.answers)
	c = c.with(*r)
	c.Now, c.Routing = now, seen.routing
	d, grounds := Deliberate(c)
	changed := r.Decide(d) || confirmed
	if changed {
		r.Grounds = &grounds
	}
	return changed
}

// insight is what Prometheus and the live routes said. Either may be missing.
type insight struct {
	answers map[Episode]Confirmation
	routing *Routing
	// grounds are what was decided on with them.
	grounds *Grounds
	// paused says who switched backout off, where a glance has not told; blind is why
	// that is not known.
	paused string
	blind  error
	// unchanged is asked right before the shed, if not nil.
	unchanged func(context.Context) error
}

// looking is Look of a Traffic, or its Glance.
type looking func(ctx context.Context, k Key, m Manifest) (Routing, error)

// see asks Prometheus and looks at the live routes, side by side.
func (e *Engine) see(ctx context.Context, r Record, c Case, look looking) insight {
	var seen insight
	var asking sync.WaitGroup
	asking.Go(func() { seen.answers = e.ask(ctx, r, c) })
	seen.routing = e.routing(ctx, r, c, look)
	asking.Wait()
	return seen
}

// routing looks at the live route before a shed. What cannot be read keeps nobody
// from shedding; it is logged and left out.
func (e *Engine) routing(ctx context.Context, r Record, c Case, look looking) *Routing {
	if r.Shed.tried() || !Decide(c).Shed {
		return nil
	}
	manifest, err := e.releases.Manifest(ctx, r.Key, r.Revision)
	var routing Routing
	if err == nil {
		routing, err = look(ctx, r.Key, manifest)
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
	return e.askWithin(ctx, limit, r, c)
}

// askWithin is ask with a limit of the caller's.
func (e *Engine) askWithin(ctx context.Context, limit time.Duration, r Record, c Case) map[Episode]Confirmation {
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
