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
// its newest revision: neither repeated nor stale alerts make a storm. It reports whether
// there is any such episode.
func (e *executor) countForStorm(b batch) bool {
	counted := false
	for _, s := range b.signals {
		c := rollback.Case{Key: b.key, History: b.history, Records: b.records, Policy: e.policy, Now: s.Received}
		switch c.Assess(s).Verdict { //nolint:exhaustive // the others say nothing about the newest revision.
		case rollback.Act, rollback.Unknown, rollback.Settling:
			e.storms.note(b.key, firstReceived(b.records, s))
			counted = true
		}
	}
	return counted
}

// firstReceived returns when backout first received the episode.
func firstReceived(records []rollback.Record, s rollback.Signal) time.Time {
	for _, r := range records {
		for _, known := range r.Signals {
			if known.Episode() == s.Episode() {
				return known.Received
			}
		}
	}
	return s.Received
}
