package engine

import (
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/upcommerce/backout/rollback"
)

const (
	// maxReleasesAtOnce bounds how many releases are worked on at a time, apart from those for
	// which Helm has worked for longer than helmPatience.
	maxReleasesAtOnce = 8
	// maxOfNamespace bounds how many of these places the releases of one namespace take, so
	// that no other target waits for it.
	maxOfNamespace = 6
	// helmPatience is how long Helm may take for a rollback before the release gives up its
	// place: the timeout of a hook can be long, and a hook that hangs delays its own release
	// alone. A rollback without hooks takes less than a second.
	helmPatience = 5 * time.Second
	// sweepInterval is how often the leader looks for open records, so that none
	// depends on an alert being delivered again.
	sweepInterval = 15 * time.Second
)

// queue says which releases are to be worked on: each by one worker at a time. It is
// safe for concurrent use.
type queue struct {
	// woken and led have room for one signal: a release is due, and this process
	// became the leader.
	woken, led chan struct{}

	mu  sync.Mutex
	due map[rollback.Key]struct{}
	// active says of each release that is worked on whether it has one of the places of
	// reconciling, which may take steps besides the fast path.
	active map[rollback.Key]bool
	// reconciling counts these places, by namespace.
	reconciling map[string]int
	// timers has the release's next recheck, one at most.
	timers map[rollback.Key]*time.Timer
}

func newQueue() *queue {
	return &queue{
		woken: make(chan struct{}, 1), led: make(chan struct{}, 1),
		due: make(map[rollback.Key]struct{}), active: make(map[rollback.Key]bool),
		reconciling: make(map[string]int), timers: make(map[rollback.Key]*time.Timer),
	}
}

// register exports how much there is to do in this process.
func (q *queue) register(reg prometheus.Registerer) {
	size := func(count func() int) func() float64 {
		return func() float64 {
			q.mu.Lock()
			defer q.mu.Unlock()
			return float64(count())
		}
	}
	reg.MustRegister(
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "backout_releases_due", Help: "Releases whose records wait for a worker.",
		}, size(func() int { return len(q.due) })),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "backout_releases_in_work", Help: "Releases whose records are being worked on.",
		}, size(func() int { return len(q.active) })),
	)
}

// add makes the release due. It never blocks.
func (q *queue) add(k rollback.Key) {
	q.mu.Lock()
	q.due[k] = struct{}{}
	q.mu.Unlock()
	wake(q.woken)
}

// job is a release to work on.
type job struct {
	key rollback.Key
	// reconcile says that its records may be reconciled; else there is only a prepared
	// shed to do.
	reconcile bool
}

// take returns the releases to begin with now: due, without a worker, within the bound.
// A shed that is prepared does not wait for the steps of other releases.
func (q *queue) take(prepared func(rollback.Key) bool) []job {
	q.mu.Lock()
	defer q.mu.Unlock()
	var jobs []job
	for k := range q.due {
		_, busy := q.active[k]
		reconcile := q.hasPlace(k.Namespace)
		if busy || !reconcile && !prepared(k) {
			continue
		}
		if reconcile {
			q.reconciling[k.Namespace]++
		}
		delete(q.due, k)
		q.active[k] = reconcile
		jobs = append(jobs, job{k, reconcile})
	}
	return jobs
}

// done ends the work on a release, and makes it due again after a while, if that is
// above zero. A release that was not reconciled is due at once.
func (q *queue) done(j job, again time.Duration) {
	q.mu.Lock()
	q.free(j.key)
	delete(q.active, j.key)
	if j.reconcile {
		q.schedule(j.key, again)
	} else {
		q.due[j.key] = struct{}{}
	}
	q.mu.Unlock()
	wake(q.woken)
}

// giveWay lets another release begin in place of one that is worked on.
func (q *queue) giveWay(k rollback.Key) {
	q.mu.Lock()
	q.free(k)
	q.mu.Unlock()
	wake(q.woken)
}

// free takes its place from the release, if it has one. It is called with the lock held.
func (q *queue) free(k rollback.Key) {
	if q.active[k] {
		q.active[k] = false
		if q.reconciling[k.Namespace]--; q.reconciling[k.Namespace] == 0 {
			delete(q.reconciling, k.Namespace)
		}
	}
}

// hasPlace reports whether a release of the namespace may be reconciled. It is called with
// the lock held.
func (q *queue) hasPlace(namespace string) bool {
	all := 0
	for _, n := range q.reconciling {
		all += n
	}
	return all < maxReleasesAtOnce && q.reconciling[namespace] < maxOfNamespace
}

// schedule replaces the release's timer. It is called with the lock held.
func (q *queue) schedule(k rollback.Key, again time.Duration) {
	if timer, ok := q.timers[k]; ok {
		timer.Stop()
		delete(q.timers, k)
	}
	if again > 0 {
		q.timers[k] = time.AfterFunc(again, func() { q.add(k) })
	}
}

// wake fills a channel that has room for one.
func wake(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
