package rollback

import (
	"slices"
	"sync"
	"time"
)

// storms remembers when releases were accused last. It is safe for concurrent
// use; the zero value is empty.
type storms struct {
	mu   sync.Mutex
	last map[Key]time.Time
}

// note remembers that the release was accused at that time.
func (s *storms) note(k Key, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		s.last = make(map[Key]time.Time)
	}
	if at.After(s.last[k]) {
		s.last[k] = at
	}
}

// besides returns what the releases other than k make of a storm, and forgets
// what lies outside of the window.
func (s *storms) besides(k Key, p Policy, now time.Time) Storm {
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
	storm := Storm{Others: len(times)}
	// With StormReleases-2 others there is none.
	if leave := len(times) - (p.StormReleases - 2); leave > 0 {
		slices.SortFunc(times, time.Time.Compare)
		storm.Over = times[leave-1].Add(p.StormWindow)
	}
	return storm
}

// accusedAt returns when an alert that asks for more than to be observed was last
// received; zero if none was.
func (r *Record) accusedAt() time.Time {
	var last time.Time
	for _, a := range r.Accusations {
		if a.Level != LevelObserve && a.Received.After(last) {
			last = a.Received
		}
	}
	return last
}

// count notes the release for a storm, once for each episode that can be about its
// newest revision: neither repeats nor what is stale make one. It reports whether
// there is any.
func (e *Engine) count(h heard) bool {
	accused := false
	for _, a := range h.accs {
		c := Case{Key: h.key, History: h.history, Records: h.records, Policy: e.policy, Now: a.Received}
		switch c.weigh(a).verdict { //nolint:exhaustive // the others accuse nobody.
		case Act, Unknown, Settling:
			e.storms.note(h.key, firstReceived(h.records, a))
			accused = true
		}
	}
	return accused
}

// firstReceived returns when the episode was first heard of.
func firstReceived(records []Record, a Accusation) time.Time {
	for _, r := range records {
		for _, known := range r.Accusations {
			if known.Episode() == a.Episode() {
				return known.Received
			}
		}
	}
	return a.Received
}
