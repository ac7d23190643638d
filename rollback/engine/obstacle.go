package engine

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// An error outside of a step is an obstacle after obstacleAttempts in a row, over
// obstacleAfter at least: until then it may be a hiccup of the API server. From then on the
// record says it, the team is notified, and backout tries again every obstacleInterval.
const (
	obstacleAttempts = 5
	obstacleAfter    = 10 * time.Second
	obstacleInterval = 10 * time.Second
)

// obstacles counts the errors outside of the steps of each record, one after the other. It is
// safe for concurrent use; the zero value is empty.
type obstacles struct {
	mu     sync.Mutex
	errors map[obstructed]obstacle
	// notBefore is when the API server asks to try again.
	notBefore map[obstructed]time.Time
}

// obstructed identifies a record.
type obstructed struct {
	rollback.Key
	uid string
}

type obstacle struct {
	since    time.Time
	attempts int
}

// add counts an error, and reports whether it is an obstacle now.
func (o *obstacles) add(r rollback.Record, now time.Time) (obstacle, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.errors == nil {
		o.errors = make(map[obstructed]obstacle)
	}
	id := obstructed{r.Key, r.UID}
	n, known := o.errors[id]
	if !known {
		n.since = now
	}
	n.attempts++
	o.errors[id] = n
	return n, n.attempts >= obstacleAttempts && now.Sub(n.since) >= obstacleAfter
}

// await remembers that nothing is to be tried for a while.
func (o *obstacles) await(r rollback.Record, now time.Time, wait time.Duration) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.notBefore == nil {
		o.notBefore = make(map[obstructed]time.Time)
	}
	o.notBefore[obstructed{r.Key, r.UID}] = now.Add(wait)
}

// wait returns how long nothing is to be tried; 0 if it may be.
func (o *obstacles) wait(r rollback.Record, now time.Time) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	id := obstructed{r.Key, r.UID}
	wait := o.notBefore[id].Sub(now)
	if wait <= 0 {
		delete(o.notBefore, id)
	}
	return max(wait, 0)
}

// end forgets the errors about the record.
func (o *obstacles) end(r rollback.Record) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.errors, obstructed{r.Key, r.UID})
}

// isOverload reports whether the API server did not take a request on.
func isOverload(err error) bool {
	var overload *rollback.OverloadedError
	return errors.As(err, &overload)
}

// retryAfter returns how long the API server asks to wait, within bounds; 0 if it does not.
func retryAfter(err error) time.Duration {
	var overload *rollback.OverloadedError
	if !errors.As(err, &overload) {
		return 0
	}
	return min(overload.RetryAfter, rollback.MaxRetryWait)
}

// noteObstacle counts an error outside of a step, and stores it in the record once it is an
// obstacle. It returns when to try again; 0 if the caller decides.
func (e *executor) noteObstacle(ctx context.Context, r rollback.Record, cause error) time.Duration {
	if ctx.Err() != nil || e.leads() != nil {
		return 0
	}
	n, is := e.obstacles.add(r, time.Now().UTC())
	if !is {
		return 0
	}
	text := rollback.Clip(cause.Error(), rollback.MaxSummary)
	_, err := e.update(ctx, r, func(r *rollback.Record) bool {
		if o := r.Obstacle; o != nil && !o.Finished() {
			if o.Error == text {
				return false
			}
			o.Error, o.Attempts = text, n.attempts
			return true
		}
		r.Obstacle = &rollback.Step{Started: n.since, Attempts: n.attempts, Error: text}
		return true
	})
	if err != nil {
		e.log.ErrorContext(ctx, "the error is not stored in its record", "namespace", r.Namespace, "release", r.Release,
			"revision", r.Revision, "error", err)
		return 0
	}
	return obstacleInterval
}

// endObstacle stores that backout could go on with the record.
func (e *executor) endObstacle(ctx context.Context, r rollback.Record) {
	e.obstacles.end(r)
	if r.Obstacle == nil || r.Obstacle.Finished() || ctx.Err() != nil || e.leads() != nil {
		return
	}
	_, err := e.update(ctx, r, func(r *rollback.Record) bool {
		if r.Obstacle == nil || r.Obstacle.Finished() {
			return false
		}
		r.Obstacle.Done = time.Now().UTC()
		return true
	})
	if err != nil {
		e.logAndRetry(ctx, r.Key, "end an obstacle", err)
	}
}
