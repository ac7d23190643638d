package engine

import (
	"context"
	"sync"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// Bounds of the watches of held routes.
const (
	// maxWatches bounds the watches; holds beyond it are polled.
	maxWatches = 64
	// maxKinds bounds the kinds that are watched for one hold: its weights may be unsigned.
	maxKinds = 20
	// holdResync is how often a hold is checked although no watched route has changed.
	holdResync = time.Minute
	// watchUnused is how long a watch outlasts the last hold that needs it.
	watchUnused = time.Minute
)

// watches are the watches of routing objects while holds need them: one for each kind and
// namespace, none while nothing is held. It is safe for concurrent use; the zero value is
// empty.
type watches struct {
	mu      sync.Mutex
	running map[watchedKind]*routeWatch
	// last is when each hold was last checked, and what its watches had seen then.
	last map[obstructed]check
}

type watchedKind struct{ namespace, kind string }

// routeWatch is one watch. changes counts what it has seen.
type routeWatch struct {
	covers  func() bool
	stop    context.CancelFunc
	changes int
	holds   map[rollback.Key]time.Time
}

type check struct {
	at   time.Time
	seen int
}

// kindsOf returns the kinds of the routes that the record holds.
func kindsOf(r rollback.Record) []string {
	var kinds []string
	seen := make(map[string]bool)
	for _, w := range r.Weights {
		if !seen[w.Kind] {
			seen[w.Kind] = true
			kinds = append(kinds, w.Kind)
		}
	}
	return kinds
}

// unchanged reports whether no route of the held record can have changed since it was last
// checked, and how many changes its watches have seen. It begins the watches that it needs.
func (w *watches) unchanged(ctx context.Context, e *executor, r rollback.Record) (seen int, unchanged bool) {
	kinds := kindsOf(r)
	covered := len(kinds) > 0 && len(kinds) <= maxKinds
	for _, kind := range kinds[:min(len(kinds), maxKinds)] {
		watched := w.use(ctx, e, watchedKind{r.Namespace, kind}, r.Key)
		if watched == nil || !watched.covers() {
			covered = false
			continue
		}
		w.mu.Lock()
		seen += watched.changes
		w.mu.Unlock()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	last, known := w.last[obstructed{r.Key, r.UID}]
	return seen, covered && known && last.seen == seen && time.Since(last.at) < holdResync
}

// checked notes that the held record was checked, and what its watches had seen before.
func (w *watches) checked(r rollback.Record, seen int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last == nil {
		w.last = make(map[obstructed]check)
	}
	w.last[obstructed{r.Key, r.UID}] = check{at: time.Now(), seen: seen}
}

// use returns the watch of a kind for the hold of a release, and begins it if it must;
// nil if there are too many, or if no router has the kind.
func (w *watches) use(ctx context.Context, e *executor, id watchedKind, k rollback.Key) *routeWatch {
	w.mu.Lock()
	defer w.mu.Unlock()
	watched := w.running[id]
	if watched == nil {
		if len(w.running) >= maxWatches {
			return nil
		}
		if w.running == nil {
			w.running = make(map[watchedKind]*routeWatch)
		}
		// It outlasts the step that begins it; prune and stop end it.
		ctx, stop := context.WithCancel(context.WithoutCancel(ctx))
		watched = &routeWatch{stop: stop, holds: make(map[rollback.Key]time.Time)}
		watched.covers = e.traffic.Watch(ctx, id.namespace, id.kind, func() { w.changed(e, watched) })
		if watched.covers == nil {
			stop()
			return nil
		}
		w.running[id] = watched
	}
	watched.holds[k] = time.Now()
	return watched
}

// changed has every hold of the watch checked.
func (w *watches) changed(e *executor, watched *routeWatch) {
	w.mu.Lock()
	watched.changes++
	keys := make([]rollback.Key, 0, len(watched.holds))
	for k := range watched.holds {
		keys = append(keys, k)
	}
	w.mu.Unlock()
	for _, k := range keys {
		e.enqueue(k)
	}
}

// prune ends the watches that no hold needs any longer.
func (w *watches) prune() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, watched := range w.running {
		for k, used := range watched.holds {
			if time.Since(used) > watchUnused {
				delete(watched.holds, k)
			}
		}
		if len(watched.holds) == 0 {
			watched.stop()
			delete(w.running, id)
		}
	}
	for id, last := range w.last {
		if time.Since(last.at) > 2*holdResync {
			delete(w.last, id)
		}
	}
}

// stop ends all watches.
func (w *watches) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for id, watched := range w.running {
		watched.stop()
		delete(w.running, id)
	}
}
