package engine

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// strayMarks compares the marks on routes behind which there is no canary of an opted-in release
// with the records of releases that are gone: no revision ends such a zero any more. The leader does
// it at each sweep. It is safe for concurrent use; the zero value is empty.
type strayMarks struct {
	mu sync.Mutex
	// marked are the routes of each namespace.
	marked map[string]map[string]strayMark
	// sheds are the revisions of each release whose records have weights, and found the releases
	// of which a record has a leftover.
	sheds map[rollback.Key]map[int]bool
	found map[rollback.Key]bool
}

// strayMark is the mark of one route: when it was seen first, and whether the log says that no record
// knows it.
type strayMark struct {
	since  time.Time
	logged bool
}

// OnStrayMarks takes the routes of a namespace that carry the mark of a shed and lead to no canary
// of an opted-in release, as in Record.StrayRoutes, whenever they were read. It never blocks.
func (e *Engine) OnStrayMarks(namespace string, routes []string) {
	m := &e.strays
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.marked == nil {
		m.marked = make(map[string]map[string]strayMark)
	}
	now := make(map[string]strayMark, len(routes))
	for _, route := range routes {
		mark, known := m.marked[namespace][route]
		if !known {
			mark.since = time.Now()
		}
		now[route] = mark
	}
	m.marked[namespace] = now
}

// note remembers a record.
func (m *strayMarks) note(r rollback.Record) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.sheds == nil {
		m.sheds, m.found = make(map[rollback.Key]map[int]bool), make(map[rollback.Key]bool)
	}
	if r.HasLeftover() {
		m.found[r.Key] = true
	}
	if len(r.Weights) == 0 {
		return
	}
	if m.sheds[r.Key] == nil {
		m.sheds[r.Key] = make(map[int]bool)
	}
	m.sheds[r.Key][r.Revision] = true
}

// forget drops a record that was deleted.
func (m *strayMarks) forget(k rollback.Key, revision int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if delete(m.sheds[k], revision); len(m.sheds[k]) == 0 {
		delete(m.sheds, k)
	}
}

// marks are the stray marks of a namespace: all routes, and those that have been marked for a while.
type marks struct{ all, due []string }

// now returns the marks of each namespace. The record of a release that goes is open until the next
// look at its hold: a mark is due after that.
func (m *strayMarks) now() map[string]marks {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := make(map[string]marks)
	for namespace, routes := range m.marked {
		var now marks
		for _, route := range slices.Sorted(maps.Keys(routes)) {
			now.all = append(now.all, route)
			if time.Since(routes[route].since) >= leftoverAfter {
				now.due = append(now.due, route)
			}
		}
		found[namespace] = now
	}
	return found
}

// candidates returns the releases of the namespace whose records have weights, and those of which
// one has a leftover.
func (m *strayMarks) candidates(namespace string) (sheds, found []rollback.Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	elsewhere := func(k rollback.Key) bool { return k.Namespace != namespace }
	return slices.DeleteFunc(slices.Collect(maps.Keys(m.sheds)), elsewhere), slices.DeleteFunc(slices.Collect(maps.Keys(m.found)), elsewhere)
}

func (m *strayMarks) ended(k rollback.Key) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.found, k)
}

// logOnce reports whether the log does not have the route yet, and notes that it does.
func (m *strayMarks) logOnce(namespace, route string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	mark := m.marked[namespace][route]
	if mark.since.IsZero() || mark.logged {
		return false
	}
	mark.logged = true
	m.marked[namespace][route] = mark
	return true
}
