package engine_test

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

// cluster is releases, routers, ledger and Prometheus in memory. The one fact worth
// knowing: as on a real cluster, a revision is made at most once, a record is written
// only by a client that has read its newest version, and a call whose context has ended
// does nothing.
type cluster struct {
	mu       sync.Mutex
	history  map[rollback.Key]rollback.History
	records  map[rollback.Key][]rollback.Record
	versions int
	paused   string

	// weight is the canary's; weightsWritten has every value that was ever written.
	// unmarked says that the route carries no mark of a shed, and noRoute that it is gone.
	unmarked       bool
	noRoute        bool
	weight         string
	weightsWritten []string
	routing        rollback.Routing
	// promoted says that revisions without a canary have no route.
	promoted bool
	// writer is the field manager that has written the weight.
	writer string
	// watchable says that the routes can be watched, by watchers; with oneKind those of kind
	// Ingress alone. observations and watchesBegun count.
	watchable, oneKind         bool
	watchers                   []func()
	observations, watchesBegun int
	ready                      bool
	// stableReady says that the pods of the stable track are ready in any case.
	stableReady bool
	readyCalls  int

	preflightResult rollback.PreflightResult
	// differences are those of a rollback with its target.
	differences      []string
	differencesError error
	preflights       int
	rollbacks        int
	recovered        []int
	// interruptions is how many of the next rollbacks leave a pending revision behind, with that
	// error; errAPIServer if it is nil.
	interruptions int
	interruption  error

	// answers are Prometheus' next ones, in order; the last one stays. Releases in answerTo
	// get that answer instead. queriedAt has the times about which it was asked.
	answers   []rollback.Confirmation
	answerTo  map[rollback.Key]rollback.Confirmation
	queriedAt []time.Time
	// firing, if not nil, answers about a release in place of answers; mu is locked.
	firing      func(rollback.Key) rollback.Answer
	trafficRate float64
	trafficErr  error
	// window is how far back the alerts' rules look; 0 is not known.
	window time.Duration
	// storedReads counts reads of a history from the API server.
	storedReads int

	// The next calls return these errors, one each.
	shedErrors, restoreErrors, holdTargetErrors, rollbackErrors, preflightErrors, saveErrors, recordErrors, pauseErrors []error
	// openError is returned with the releases that have an open record.
	openError error

	// readTime, saveTime, observeTime and answerTime are how long it takes to read a
	// history, to save a record, to observe the routes and to query Prometheus;
	// rollbackTime is how long Helm works.
	readTime, saveTime, observeTime, answerTime, rollbackTime time.Duration

	// saved gets every record that was saved, as a watch would deliver it; with mu unlocked.
	saved func(rollback.Record)
	// beforeShed and beforeRestore run between the read and the write of a weight,
	// afterShed once at the end of a shed, with mu locked.
	beforeShed, beforeRestore, afterShed func()
	// beforePreflight runs before a preflight, duringPreflight during it, with mu locked.
	beforePreflight, duringPreflight func()
	// duringRollback runs after half of rollbackTime, right before Helm writes the new
	// revision.
	duringRollback func()

	// Cached reads return cache, or the present state if it is nil. With notCached they
	// return ErrNotCached.
	cache     *cluster
	notCached bool
	// lagging has Recent reads return no records: the API server's own cache is behind.
	lagging bool
}

// newCluster has the demo's release: v2 as revision 1, an hour old, and v3 as
// revision 2, a minute old, with 20% of the traffic.
func newCluster() *cluster {
	return &cluster{
		history: map[rollback.Key]rollback.History{rollbacktest.Shop(): {
			{Number: 2, UID: "uid-2", Status: rollback.StatusDeployed, Deployed: time.Now().Add(-time.Minute), Content: "c3", Versions: []string{"v3"}, Chart: "canary-demo"},
			{Number: 1, UID: "uid-1", Status: rollback.StatusSuperseded, Deployed: time.Now().Add(-time.Hour), Content: "c2", Versions: []string{"v2"}, Chart: "canary-demo"},
		}},
		records: make(map[rollback.Key][]rollback.Record),
		weight:  "20", ready: true,
	}
}

// change changes the cluster while an engine may be working on it.
func (c *cluster) change(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

// progress returns how many rollbacks there were and the canary's weight, while an
// engine may be working.
func (c *cluster) progress() (rollbacks int, weight string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.rollbacks, c.weight
}

// newest returns the newest revision of the demo's release, to be read or changed.
func (c *cluster) newest() *rollback.Revision { return &c.history[rollbacktest.Shop()][0] }

// upgrade makes a revision as another client would.
func (c *cluster) upgrade(version, description string) { c.addRevision(version, description, "") }

// addRevision makes a revision with that claim.
func (c *cluster) addRevision(version, description, claim string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.history[rollbacktest.Shop()]
	h[0].Status = rollback.StatusSuperseded
	number := h[0].Number + 1
	c.history[rollbacktest.Shop()] = slices.Insert(h, 0, rollback.Revision{
		Number: number, UID: "uid-" + strconv.Itoa(number), Status: rollback.StatusDeployed, Deployed: time.Now(),
		Content: "c-" + version, Versions: []string{version}, Chart: "canary-demo", Description: description, Claim: claim,
	})
}

// freezeCache has Cached reads return the present state from now on.
func (c *cluster) freezeCache() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cache = &cluster{history: map[rollback.Key]rollback.History{}, records: map[rollback.Key][]rollback.Record{}}
	for k, h := range c.history {
		c.cache.history[k] = slices.Clone(h)
		c.cache.records[k] = c.copyRecords(k)
	}
}

// nextError takes the first of the errors; nil if none is left.
func nextError(errs *[]error) error {
	if len(*errs) == 0 {
		return nil
	}
	err := (*errs)[0]
	*errs = (*errs)[1:]
	return err
}

func (c *cluster) Firing(ctx context.Context, k rollback.Key, _ rollback.Signal, at time.Time) rollback.Confirmation {
	select {
	case <-ctx.Done():
		return rollback.Confirmation{Answer: rollback.AnswerUnknown, Error: ctx.Err().Error()}
	case <-time.After(c.answerTime):
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queriedAt = append(c.queriedAt, at)
	if answer, ok := c.answerTo[k]; ok {
		return answer
	}
	if c.firing != nil {
		return rollback.Confirmation{Answer: c.firing(k)}
	}
	answer := c.answers[0]
	if len(c.answers) > 1 {
		c.answers = c.answers[1:]
	}
	return answer
}

// EvidenceFrom is a window ago.
func (c *cluster) EvidenceFrom(context.Context, rollback.Key, rollback.Signal) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.window == 0 {
		return time.Time{}
	}
	return time.Now().Add(-c.window)
}

func (c *cluster) CanaryTraffic(context.Context, rollback.Key, time.Time) (float64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trafficRate, c.trafficErr
}
