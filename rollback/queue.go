package rollback

import (
	"context"
	"time"
)

// Watch has the release's open records looked at as soon as Run gets to it. It
// never blocks.
func (e *Engine) Watch(k Key) {
	e.mu.Lock()
	e.due[k] = struct{}{}
	e.mu.Unlock()
	e.wake()
}

// Lead has the open records looked for at once: this process became the leader.
func (e *Engine) Lead() { signal(e.led) }

func (e *Engine) wake() { signal(e.woken) }

// signal fills a channel that has room for one.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// job is a release to work on.
type job struct {
	key Key
	// walk says that its records may be walked; else there is only a shed to do.
	walk bool
}

// take returns the releases to begin with now: due, not in hand, within the bound. A
// shed that is urgent does not wait for the rollbacks of other releases.
func (e *Engine) take() []job {
	e.mu.Lock()
	defer e.mu.Unlock()
	var jobs []job
	for k := range e.due {
		_, busy := e.active[k]
		_, urgent := e.urgent[k]
		walk := e.walking < maxReleasesAtOnce
		if busy || !walk && !urgent {
			continue
		}
		if walk {
			e.walking++
		}
		delete(e.due, k)
		e.active[k] = struct{}{}
		jobs = append(jobs, job{k, walk})
	}
	return jobs
}

// sweeps looks for open records at once and then by the clock, beside the work:
// however long it takes, it delays no shed. Only the leader does.
func (e *Engine) sweeps(ctx context.Context) {
	tick := time.NewTicker(sweepInterval)
	defer tick.Stop()
	for {
		if e.leads() == nil {
			e.sweep(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-e.led:
		}
	}
}

func (e *Engine) sweep(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, stepTimeout)
	defer cancel()
	// What was found is worked on, whatever could not be read beside it.
	keys, err := e.ledger.Open(ctx)
	if err != nil && ctx.Err() == nil {
		e.log.ErrorContext(ctx, "look for open records", "error", err)
	}
	for _, k := range keys {
		e.Watch(k)
	}
}

// work does the shed that is urgent, then takes the release's records as far as they
// go now, and has the release looked at again if a record waits for something.
func (e *Engine) work(ctx context.Context, j job) {
	k := j.key
	e.shedFirst(ctx, k)
	if !j.walk {
		e.mu.Lock()
		delete(e.active, k)
		e.due[k] = struct{}{}
		e.mu.Unlock()
		e.wake()
		return
	}
	again := e.settle(ctx, k)
	e.mu.Lock()
	delete(e.active, k)
	e.walking--
	if timer, ok := e.timers[k]; ok {
		timer.Stop()
		delete(e.timers, k)
	}
	if again > 0 && ctx.Err() == nil {
		e.timers[k] = time.AfterFunc(again, func() { e.Watch(k) })
	}
	e.mu.Unlock()
	e.wake()
}
