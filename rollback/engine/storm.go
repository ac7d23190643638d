package engine

import (
	"context"
	"sync"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// stormMemory is how long a release that no longer fires is remembered: longer than the hour in
// which releases that come slowly make a storm.
const stormMemory = 6 * time.Hour

// countInterval is how often the opted-in releases are counted at most.
const countInterval = 30 * time.Second

// storms remembers which releases got signals, and how far the rollbacks of those are that were
// in a storm. It is safe for concurrent use; the zero value is empty.
type storms struct {
	// optedIn returns how many releases are opted in; nil if that is not known.
	optedIn func() int

	mu        sync.Mutex
	suspected map[rollback.Key]rollback.Suspected
	steps     map[rollback.Key]rollback.StormStep
	// revisions are those of the records that correct has found to count.
	revisions map[rollback.Key]int
	// read says that the open records were read, so that no step is missing.
	read      bool
	releases  int
	countedAt time.Time
}

// note remembers that the release got a signal: first is when backout first received the
// episode, seen when it received it last. An episode that began a window after the last signal
// is a new one for the storm.
func (s *storms) note(k rollback.Key, first, seen time.Time, window time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.suspected == nil {
		s.suspected = make(map[rollback.Key]rollback.Suspected)
	}
	known, ok := s.suspected[k]
	switch {
	case !ok || first.Sub(known.Last) >= window:
		known.Since = first
	case known.Since.Sub(seen) >= window:
		return // an older record, which the watch delivers later
	case first.Before(known.Since):
		known.Since = first
	}
	known.Last, known.Over = rollback.Later(known.Last, seen), false
	s.suspected[k] = known
}

// correct corrects what note remembers of the release by a record of it. The record's
// newest signal was received at last, and the newest one that counts at counting, zero if
// none does: Prometheus has denied the others, or they only observe. A signal that came
// after last is not in the record yet, and stays. over says that all that count have ended.
func (s *storms) correct(r rollback.Record) {
	last, counting := r.LastReceived()
	s.mu.Lock()
	defer s.mu.Unlock()
	known, noted := s.suspected[r.Key]
	switch {
	case !noted || known.Since.After(last):
	case counting.IsZero() || !r.Decision().Verdict.Suspects():
		delete(s.suspected, r.Key)
		delete(s.revisions, r.Key)
	default:
		known.Over = r.Resolved()
		s.suspected[r.Key] = known
		if s.revisions == nil {
			s.revisions = make(map[rollback.Key]int)
		}
		s.revisions[r.Key] = r.Revision
	}
}

// forget drops what the record of a revision said, which was deleted: its release may be gone.
func (s *storms) forget(k rollback.Key, revision int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.steps[k].Revision == revision {
		delete(s.steps, k)
	}
	if s.revisions[k] == revision {
		delete(s.suspected, k)
		delete(s.revisions, k)
	}
}

// follow remembers how far the rollback of a record is that was in a storm.
func (s *storms) follow(r rollback.Record) {
	step, ok := rollback.StormStepOf(&r)
	s.mu.Lock()
	defer s.mu.Unlock()
	known, has := s.steps[r.Key]
	if has && (ok && known.Since.After(step.Since) || !ok && known.Revision != r.Revision || r.Decision().At.Before(known.Since)) {
		return // a record of another revision, or the watch delivers an older state
	}
	switch {
	case !ok:
		delete(s.steps, r.Key)
	default:
		if s.steps == nil {
			s.steps = make(map[rollback.Key]rollback.StormStep)
		}
		s.steps[r.Key] = step
	}
}

// others returns the storm that the release is in if it has a signal now.
func (s *storms) others(k rollback.Key, records []rollback.Record, p rollback.Policy, now time.Time) rollback.Storm {
	s.mu.Lock()
	defer s.mu.Unlock()
	var others []rollback.Suspected
	for other, known := range s.suspected {
		switch {
		case now.Sub(known.Last) >= stormMemory:
			delete(s.suspected, other)
			delete(s.revisions, other)
		case other != k:
			others = append(others, known)
		}
	}
	storm := rollback.StormAmong(others, s.count(now), p, now)
	storm.Queue = s.queue(k, records, p, now)
	return storm
}

// queue returns how far the rollbacks are of the storm that the release's newest record was in.
// It is called with the lock held.
func (s *storms) queue(k rollback.Key, records []rollback.Record, p rollback.Policy, now time.Time) rollback.StormQueue {
	var since time.Time
	for i := range records {
		if at, was := records[i].WasInStorm(); was {
			since = rollback.Later(since, at)
		}
	}
	if since.IsZero() {
		return rollback.StormQueue{}
	}
	if !s.read {
		return rollback.StormQueue{Unknown: true}
	}
	all, waiting := make([]rollback.StormStep, 0, len(s.steps)), false
	for _, step := range s.steps {
		waiting = waiting || step.Began.IsZero()
		all = append(all, step)
	}
	if !waiting {
		// The next storm begins a queue of its own.
		for other, step := range s.steps {
			if now.Sub(step.Began) >= stormMemory {
				delete(s.steps, other)
			}
		}
	}
	return rollback.QueueAmong(k, since, all, p, now)
}

// count returns how many releases are opted in, as counted some seconds ago. It is called with
// the lock held.
func (s *storms) count(now time.Time) int {
	if s.optedIn != nil && (s.countedAt.IsZero() || now.Sub(s.countedAt) >= countInterval) {
		s.releases, s.countedAt = s.optedIn(), now
	}
	return s.releases
}

// countForStorm notes the release for a storm, once for each episode that can be about
// its newest revision: neither repeated nor stale alerts make a storm, nor do alerts that
// only observe or that Prometheus has denied. It reports whether there is any such
// episode.
func (e *executor) countForStorm(b batch) bool {
	counted := false
	b = b.atSuspect()
	for _, s := range b.signals {
		known := storedSignal(b.records, s)
		if known.Denied() || known.EffectiveLevel() == rollback.LevelObserve {
			continue
		}
		c := rollback.Case{Key: b.key, History: b.history, Records: b.records, Policy: e.policy, Now: s.Received}
		switch unlessItPanics(func() rollback.Verdict { return c.Assess(s).Verdict }) { //nolint:exhaustive // the others say nothing about the newest revision.
		case rollback.Act, rollback.Unknown, rollback.Settling:
			e.storms.note(b.key, known.Received, s.Received, e.policy.StormWindow)
			counted = true
		}
	}
	return counted
}

// storedSignal returns the stored signal of the episode of s, which has the time of its first
// receipt and the answer of Prometheus; s itself if none is stored.
func storedSignal(records []rollback.Record, s rollback.Signal) rollback.Signal {
	for _, r := range records {
		for _, known := range r.Signals {
			if s.SameFiring(known) {
				return known
			}
		}
	}
	return s
}

// readStorms reads how far the rollbacks of a storm are that an earlier process has begun: a
// leader that does not know them would begin several at once. A release whose records cannot
// be read is not rolled back either, and stops no other.
func (e *executor) readStorms(ctx context.Context, open []rollback.Key) {
	for _, k := range open {
		records, err := e.ledger.Records(ctx, k, rollback.Stored)
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			e.log.ErrorContext(ctx, "open records not readable; trying again", "namespace", k.Namespace, "release", k.Release, "error", err)
		}
		for _, r := range records {
			e.keepStorm(r)
		}
	}
	e.storms.mu.Lock()
	defer e.storms.mu.Unlock()
	e.storms.read = true
}

// haveStorms reports whether readStorms has succeeded.
func (e *executor) haveStorms() bool {
	e.storms.mu.Lock()
	defer e.storms.mu.Unlock()
	return e.storms.read
}

// keepStorm remembers what a record says about storms, and about content that may come back.
func (e *executor) keepStorm(r rollback.Record) {
	e.returns.note(r)
	e.storms.correct(r)
	e.storms.follow(r)
}
