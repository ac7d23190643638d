package engine

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/parallel"
)

// Limits on queries to Prometheus: before the shed, which does not wait for longer, and
// after it.
const (
	queryBriefly = 250 * time.Millisecond
	queryLong    = 2 * time.Second
)

// observeBriefly limits the observation of the routes before the shed. A route or an
// endpoint that is not read by then is left out; the shed reads its routes itself.
const observeBriefly = time.Second

// read reads a release's history, its records with that consistency, and whether it is
// paused, in parallel.
func (e *executor) read(ctx context.Context, k rollback.Key, records rollback.Consistency) (batch, error) {
	b := batch{key: k}
	var errs [3]error
	var reading parallel.WaitGroup
	reading.Go(func() { b.paused, errs[0] = e.ledger.Paused(ctx, k) })
	reading.Go(func() { b.records, errs[1] = e.ledger.Records(ctx, k, records) })
	b.history, errs[2] = e.releases.History(ctx, k, rollback.Stored)
	reading.Wait()
	return b, errors.Join(errs[:]...)
}

// caseOf returns the case that the batch makes at that time.
func (e *executor) caseOf(b batch, now time.Time) rollback.Case {
	return rollback.Case{
		Key: b.key, History: b.history, Unfinished: b.unfinished, Records: b.records, Paused: b.paused, Now: now,
		Storm: e.storms.others(b.key, b.records, e.policy, now), Asks: e.prometheus != nil || e.grafana != nil, Policy: e.policy,
	}
}

// facts reads what a decision about the record depends on, with the history from the record's
// revision on, if that still runs under newer ones: History.From. It returns
// ErrUnknownRelease if the release is gone, and ErrRevisionChanged, together with the
// case, if the suspect is another revision than the record's.
func (e *executor) facts(ctx context.Context, r rollback.Record) (rollback.Case, error) {
	b, err := e.read(ctx, r.Key, rollback.Stored)
	if err != nil {
		return rollback.Case{}, err
	}
	// Records about revisions that backout has made of the suspect say nothing about the suspect.
	b.records = slices.DeleteFunc(b.records, func(other rollback.Record) bool {
		made, ok := b.history.Named(other.Revision)
		return ok && made.UID == other.UID && made.Claim == r.UID
	})
	b.history, b.unfinished = b.history.From(r.UID)
	now := time.Now().UTC()
	c := e.caseOf(b, now)
	c = c.With(r).AtSuspect()
	if c.History.Newest().UID != r.UID {
		return c, rollback.ErrRevisionChanged
	}
	return c, nil
}

// inputs are the answers of Prometheus and the live routes. Either may be missing.
type inputs struct {
	answers map[rollback.Episode]rollback.Confirmation
	// present are the answers about the present moment: see rollback.Case.
	present map[rollback.Episode]rollback.Confirmation
	// serving is when the newest content's own pods were first seen to serve: see rollback.Case.
	serving time.Time
	routing *rollback.Routing
	// missed are the ways to the canary that a shed leaves open: rollback.Routing.Missed.
	missed []string
	// trace is that of the decision that was taken on them.
	trace *rollback.Trace
	// precondition is checked right before the shed, if not nil.
	precondition rollback.Precondition
}

// gather queries Prometheus and observes the live routes, in parallel, after it has asked
// whether alerts that had to wait still fire.
func (e *executor) gather(ctx context.Context, r rollback.Record, c rollback.Case, routes rollback.Consistency) inputs {
	var in inputs
	in.serving = e.servingSince(ctx, r, c)
	c.Serving = in.serving
	in.present = e.queryPresent(ctx, r, c)
	c.Present = in.present
	var asking parallel.WaitGroup
	asking.Go(func() { in.answers = e.queryPrometheus(ctx, r, c) })
	in.routing, in.missed = e.observeRouting(ctx, r, c, routes)
	asking.Wait()
	return in
}

// decideWith takes the decision on the facts and the inputs. It reports whether the
// record has changed.
func decideWith(r *rollback.Record, c rollback.Case, in inputs, now time.Time) bool {
	confirmed := r.Confirm(in.answers)
	c = c.With(*r)
	c.Now, c.Routing, c.Present, c.Serving = now, in.routing, in.present, in.serving
	late := c.LateSignals()
	d, trace := safely(c)
	changed := r.Decide(d) || confirmed
	if changed && (r.Claimed() || d.Rollback) {
		r.NotePresent(late, in.present, now)
	}
	if changed {
		r.Trace = &trace
	}
	return changed
}

// observeRouting reads the live route before a shed. It logs and omits a route that cannot
// be read; backout tries the shed all the same. It returns Routing.Missed even without any
// route.
func (e *executor) observeRouting(ctx context.Context, r rollback.Record, c rollback.Case, routes rollback.Consistency) (*rollback.Routing, []string) {
	if r.Shed.Tried() {
		return nil, nil
	}
	if d, _ := safely(c); !d.Shed {
		return nil, nil
	}
	manifest, err := e.releases.Manifest(ctx, r.Key, r.Revision)
	var routing rollback.Routing
	if err == nil {
		limited, cancel := context.WithTimeout(ctx, observeBriefly)
		routing, err = e.traffic.Observe(limited, r.Key, manifest, routes)
		cancel()
	}
	if err != nil {
		e.log.WarnContext(ctx, "live route not readable before the shed", "namespace", r.Namespace,
			"release", r.Release, "revision", r.Revision, "error", err)
	}
	if len(routing.Weights) == 0 {
		return nil, routing.Missed
	}
	return &routing, routing.Missed // the routes that could be read count
}

// evaluatorOf returns the servers that backout asks about the signal; nil if there is nothing to ask.
// It asks the servers that it has: another replica, with other servers, may have read the signal.
func (e *executor) evaluatorOf(s rollback.Signal) rollback.Evaluator {
	switch {
	case s.Confirm == rollback.ConfirmByNone:
		return nil
	case e.grafana != nil && (s.Confirm == rollback.ConfirmByGrafana || e.prometheus == nil):
		return e.grafana
	case e.prometheus != nil:
		return e.prometheus
	default:
		return nil
	}
}

// believes reports whether backout asks nothing about the signal.
func (e *executor) believes(s rollback.Signal) bool { return e.evaluatorOf(s) == nil }

// readAlert reads an alert received at now. The configuration alone says where backout asks about it:
// the word of its token, and without one the servers that are configured, Prometheus first.
func (e *executor) readAlert(alert rollback.Alert, now time.Time) (rollback.Key, rollback.Signal, error) {
	k, s, err := alert.Read(now)
	switch {
	case s.Confirm == "" && e.prometheus == nil && e.grafana != nil:
		s.Confirm = rollback.ConfirmByGrafana
	case s.Confirm == rollback.ConfirmByGrafana && e.grafana == nil:
		s.Confirm = ""
	}
	return k, s, err
}

// queryPresent asks Prometheus whether the signals that had to wait without a shed fire now, if
// they would lead to anything. It returns nil without such a signal.
func (e *executor) queryPresent(ctx context.Context, r rollback.Record, c rollback.Case) map[rollback.Episode]rollback.Confirmation {
	c = c.With(r)
	late := slices.DeleteFunc(c.LateSignals(), e.believes)
	if len(late) == 0 {
		return nil
	}
	if d, _ := safely(c.AssumeFiring()); !d.Shed && !d.Rollback && d.Waits {
		return nil // they go on waiting
	}
	ctx, cancel := context.WithTimeout(ctx, queryLong)
	defer cancel()
	var mu sync.Mutex
	answers := make(map[rollback.Episode]rollback.Confirmation)
	each(late, func(s rollback.Signal) {
		answer := e.firesNow(ctx, r.Key, s)
		if answer.Answer == rollback.AnswerFiring && c.AwaitsEvidence() {
			answer.EvidenceFrom = e.evaluatorOf(s).EvidenceFrom(ctx, r.Key, s)
		}
		mu.Lock()
		defer mu.Unlock()
		answers[s.Episode()] = answer
	})
	return answers
}

// firesNow asks whether the alert fires now. That it does not is certain only once its rule was
// evaluated since: then backout asks about a moment ago, and an alert that fired then, and may
// be over, counts as unknown.
func (e *executor) firesNow(ctx context.Context, k rollback.Key, s rollback.Signal) rollback.Confirmation {
	now := time.Now()
	answer := e.evaluatorOf(s).Firing(ctx, k, s, now)
	if answer.Answer != rollback.AnswerUnknown {
		return answer
	}
	if before := e.evaluatorOf(s).Firing(ctx, k, s, now.Add(-lagOf(e.policy))); before.Answer != rollback.AnswerFiring {
		return before
	}
	return answer
}

// queryPrometheus asks Prometheus about the signals about which it was not asked, or
// could not answer. A shed that is not done waits queryBriefly for it, no longer.
func (e *executor) queryPrometheus(ctx context.Context, r rollback.Record, c rollback.Case) map[rollback.Episode]rollback.Confirmation {
	limit := queryLong
	if !r.Shed.Tried() {
		limit = queryBriefly
	}
	return e.queryPrometheusWithin(ctx, limit, r, c)
}

// queryPrometheusWithin is queryPrometheus with a limit of the caller.
func (e *executor) queryPrometheusWithin(ctx context.Context, limit time.Duration, r rollback.Record, c rollback.Case) map[rollback.Episode]rollback.Confirmation {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var mu sync.Mutex
	answers := make(map[rollback.Episode]rollback.Confirmation)
	each(slices.DeleteFunc(r.SignalsToConfirm(c), e.believes), func(s rollback.Signal) {
		answer := e.evaluatorOf(s).Firing(ctx, r.Key, s, s.Received)
		answer.Error = rollback.Clip(answer.Error, rollback.MaxSummary)
		mu.Lock()
		defer mu.Unlock()
		answers[s.Episode()] = answer
	})
	return answers
}
