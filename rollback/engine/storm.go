package engine

import (
	"slices"
	"sync"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// storms remembers when each release last got a signal. It is safe for concurrent use;
// the zero value is empty.
type storms struct {
	mu   sync.Mutex
	last map[rollback.Key]time.Time
}

// note remembers that the release got a signal at that time.
func (s *storms) note(k rollback.Key, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		s.last = make(map[rollback.Key]time.Time)
	}
	if at.After(s.last[k]) {
		s.last[k] = at
	}
}

// correct corrects what note remembers of the release by a record of it. The record's
// newest signal was received at last, and the newest one that counts at counting, zero if
// none does: Prometheus has denied the others, or they only observe. A signal that came
// after last is not in the record yet, and stays.
func (s *storms) correct(k rollback.Key, last, counting time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, noted := s.last[k]
	switch {
	case !noted || at.After(last) || !at.After(counting):
	case counting.IsZero():
		delete(s.last, k)
	default:
		s.last[k] = counting
	}
}

// others returns how many releases other than k got a signal within the window, and when
// that is no longer a storm. It forgets those outside of the window.
func (s *storms) others(k rollback.Key, p rollback.Policy, now time.Time) rollback.Storm {
	s.mu.Lock()
	defer s.mu.Unlock()
	var times []time.Time
	for other, at := range s.last {
		switch {
		case now.Sub(at) >= p.StormWindow:
			delete(s.last, other)
		case other != k:
			times = append(times, at)
		}
	}
	storm := rollback.Storm{Others: len(times)}
	// StormReleases-2 others make no storm.
	if leave := len(times) - (p.StormReleases - 2); leave > 0 {
		slices.SortFunc(times, time.Time.Compare)
		storm.Over = times[leave-1].Add(p.StormWindow)
	}
	return storm
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
		switch c.Assess(s).Verdict { //nolint:exhaustive // the others say nothing about the newest revision.
		case rollback.Act, rollback.Unknown, rollback.Settling:
			e.storms.note(b.key, known.Received)
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
