package notify

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// Bounds of a delivery.
const (
	// deadline limits one delivery.
	deadline = 10 * time.Second
	// firstRetry doubles with each failure up to lastRetry, at which what is refused
	// begins.
	firstRetry = time.Second
	lastRetry  = 5 * time.Minute
	// lookInterval is how often a channel looks for what is due.
	lookInterval = 250 * time.Millisecond
	// gather is how long news waits for more: the steps of a rollback follow each
	// other within a second.
	gather = time.Second
)

// errand is one delivery to be made.
type errand struct {
	ids    []identity
	report Report
	news   []Line
	place  string
}

// deliverNext delivers what is due first. It reports whether there may be more.
func (t *Teller) deliverNext(ctx context.Context, c *channel) bool {
	now := time.Now()
	t.sweep(c, now)
	if t.leads() != nil {
		return false
	}
	e := t.take(c, now)
	if e == nil {
		return false
	}
	limited, cancel := context.WithTimeout(ctx, deadline)
	place, err := c.deliver(limited, &e.report, e.news, e.place)
	cancel()
	if ctx.Err() != nil && err != nil && !errors.Is(err, errMore) {
		return false // told again by whoever leads next
	}
	t.settle(ctx, c, e, place, err)
	return true
}

// take returns what c is to deliver now; nil if that is nothing.
func (t *Teller) take(c *channel, now time.Time) *errand {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now.Before(t.notBefore[c]) {
		return nil
	}
	var first identity
	var chosen *matter
	for id, m := range t.known {
		if t.due(c, m, now) && (chosen == nil || m.report.at().Before(chosen.report.at())) {
			first, chosen = id, m
		}
	}
	if chosen == nil {
		return nil
	}
	if chosen.report.State == InStorm && !c.alone {
		return t.takeStorm(c, now)
	}
	return &errand{
		ids: []identity{first}, report: chosen.report, news: chosen.news(c), place: chosen.told[c.name].Place,
	}
}

// due reports whether c has something to deliver about m now.
func (t *Teller) due(c *channel, m *matter, now time.Time) bool {
	if m.stale(now) || now.Before(m.try(c).next) {
		return false
	}
	if len(m.news(c)) > 0 {
		wait := gather
		if m.report.State == InStorm && !c.alone {
			wait = gathering
		}
		return now.Sub(m.grew) >= wait
	}
	again := m.refresh(c)
	return !again.IsZero() && !now.Before(again) && m.report.State != InStorm
}

// sweep forgets what is idle, and counts what is left for c.
func (t *Teller) sweep(c *channel, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	left := 0
	for id, m := range t.known {
		t.tidy(id, m, now)
		if !m.stale(now) && len(m.news(c)) > 0 {
			left++
		}
	}
	t.metrics.queued.WithLabelValues(c.name).Set(float64(left))
}

// settle notes how a delivery went.
func (t *Teller) settle(ctx context.Context, c *channel, e *errand, place string, err error) {
	now := time.Now()
	attempt := t.conclude(c, e, rollback.Told{Place: place, At: now.UTC()}, err)
	if err == nil || errors.Is(err, errMore) {
		t.metrics.notifications.WithLabelValues(c.name, resultSent).Inc()
		return
	}
	t.metrics.notifications.WithLabelValues(c.name, resultError).Inc()
	t.log.WarnContext(ctx, "people could not be told; trying again", "channel", c.name, "namespace", e.report.Namespace,
		"release", e.report.Release, "revision", e.report.Revision, "attempt", attempt, "error", err)
}

// conclude notes for every matter of the errand what was told, and when the next
// try is due. It returns how often it has failed by now.
func (t *Teller) conclude(c *channel, e *errand, told rollback.Told, err error) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.notBefore[c] = told.At.Add(c.pace)
	if wait, ok := errors.AsType[errLater](err); ok {
		t.notBefore[c] = told.At.Add(wait.after)
	}
	failures := 0
	for _, id := range e.ids {
		m, ok := t.known[id]
		if !ok {
			continue
		}
		tried, done := m.try(c), told
		switch {
		case err == nil && e.report.Record == "":
			t.stormed[c] = told.At
			*tried, done = try{last: told.At}, rollback.Told{Lines: []string{stormKey(m)}, At: told.At}
		case err == nil:
			*tried = try{last: told.At}
			for _, l := range e.news {
				done.Lines = append(done.Lines, l.Key)
			}
		case !errors.Is(err, errMore):
			tried.failures++
			tried.next = told.At.Add(backoff(tried.failures, err))
		}
		failures = max(failures, tried.failures)
		t.note(c, m, done)
	}
	return failures
}

// note adds what was told to the matter. Where it is found again goes into the
// record at once.
func (t *Teller) note(c *channel, m *matter, told rollback.Told) {
	before := m.told[c.name]
	moved := told.Place != "" && told.Place != before.Place
	news := slices.ContainsFunc(told.Lines, func(l string) bool { return !before.Has(l) })
	if !moved && !news {
		return
	}
	m.told[c.name] = before.Add(told)
	m.compare(c)
	m.unsaved = m.unsaved || !c.idempotent
	if moved {
		select {
		case t.moved <- struct{}{}:
		default:
		}
	}
}

// backoff returns how long to wait after that many failures.
func backoff(failures int, err error) time.Duration {
	if errors.Is(err, errRefused) {
		return lastRetry
	}
	return min(firstRetry<<min(failures-1, 20), lastRetry)
}
