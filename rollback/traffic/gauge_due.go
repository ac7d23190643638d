package traffic

import (
	"sync"
	"time"
)

// Times of the reads that a change asks for.
const (
	// changeDelay is how long after a change its namespace is read: an upgrade changes several
	// objects. settledDelay is how long after that it is read once more, with the objects that
	// Helm has written since.
	changeDelay  = 300 * time.Millisecond
	settledDelay = 5 * time.Second
	// readShare bounds the part of the time in which a namespace is read because of changes.
	readShare = 10
)

// schedule is when the namespaces are read next: every gaugeInterval, and earlier after a
// change. It is safe for concurrent use.
type schedule struct {
	mu    sync.Mutex
	due   map[string]time.Time
	again map[string]time.Time
	// free is when the namespace may be read because of a change.
	free  map[string]time.Time
	woken chan struct{}
}

// newSchedule returns a schedule without namespaces.
func newSchedule() *schedule {
	return &schedule{
		due: make(map[string]time.Time), again: make(map[string]time.Time), free: make(map[string]time.Time),
		woken: make(chan struct{}, 1),
	}
}

// add adds namespaces, which are due at once.
func (s *schedule) add(namespaces []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, namespace := range namespaces {
		s.due[namespace] = time.Time{}
	}
}

// soon makes a namespace due soon, and once more some seconds later. It never blocks.
func (s *schedule) soon(namespace string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	due, known := s.due[namespace]
	if !known {
		return
	}
	at := later(time.Now().Add(changeDelay), s.free[namespace])
	s.again[namespace] = at.Add(settledDelay)
	if at.Before(due) {
		s.due[namespace] = at
	}
	select {
	case s.woken <- struct{}{}:
	default:
	}
}

// next returns the namespace that is due first, and in which time; gaugeInterval and no
// namespace without one.
func (s *schedule) next() (namespace string, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var first time.Time
	for name, due := range s.due {
		if namespace == "" || due.Before(first) || due.Equal(first) && name < namespace {
			namespace, first = name, due
		}
	}
	if namespace == "" {
		return "", gaugeInterval
	}
	return namespace, time.Until(first)
}

// done notes that a namespace was read, from began until now.
func (s *schedule) done(namespace string, began time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.free[namespace] = now.Add(max(time.Second, readShare*now.Sub(began)))
	s.due[namespace] = now.Add(gaugeInterval)
	if again := s.again[namespace]; again.After(now) && again.Before(s.due[namespace]) {
		s.due[namespace] = again
	}
}

// later returns the later of two times.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
