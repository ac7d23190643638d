package notify

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/parallel"
	"github.com/upcommerce/backout/rollback/report"
)

// Times of a delivery.
const (
	// deliveryTimeout limits one delivery.
	deliveryTimeout = 10 * time.Second
	// firstRetry doubles with each failure up to lastRetry. A refusal is retried after
	// lastRetry.
	firstRetry = time.Second
	lastRetry  = 5 * time.Minute
	// pollInterval is how often a channel checks what is due.
	pollInterval = 250 * time.Millisecond
	// gatherTime is how long a new entry waits for more: the steps of a rollback follow
	// each other within a second.
	gatherTime = time.Second
)

// delivery is one report to be sent.
type delivery struct {
	ids       []identity
	report    report.Report
	entries   []report.Entry
	messageID string
}

// deliverNext makes the delivery that is due first. It reports whether there may be
// another one.
func (n *Notifier) deliverNext(ctx context.Context, c *channel) bool {
	now := time.Now()
	n.sweep(c, now)
	if n.leads() != nil {
		return false
	}
	d := n.next(c, now)
	if d == nil {
		return false
	}
	limited, cancel := context.WithTimeout(ctx, deliveryTimeout)
	var messageID string
	// A panic is about this report: the others are sent.
	err := parallel.Catch(func() (err error) {
		messageID, err = c.deliver(limited, &d.report, d.entries, d.messageID)
		return err
	})
	cancel()
	if ctx.Err() != nil && err != nil && !errors.Is(err, errMore) {
		return false // the next leader repeats it
	}
	n.finish(ctx, c, d, messageID, err)
	return true
}

// next returns the delivery that is due for c; nil if none is.
func (n *Notifier) next(c *channel, now time.Time) *delivery {
	n.mu.Lock()
	defer n.mu.Unlock()
	if now.Before(n.notBefore[c]) {
		return nil
	}
	var first identity
	var chosen *pending
	for id, p := range n.pending {
		if due(c, p, now) && (chosen == nil || sentBefore(id, p, first, chosen)) {
			first, chosen = id, p
		}
	}
	if chosen == nil {
		return nil
	}
	if inStorm(c, chosen) {
		return n.nextStorm(c, now)
	}
	return &delivery{
		ids: []identity{first}, report: chosen.report, entries: chosen.unsent[c], messageID: chosen.sent[c.name].MessageID,
	}
}

// sentBefore orders deliveries: signed records first, by their last change. The times of the
// others are those of another client; they are sent in the order of their receipt.
func sentBefore(id identity, p *pending, other identity, q *pending) bool {
	switch {
	case id.unsigned != other.unsigned:
		return other.unsigned
	case id.unsigned:
		return p.grewAt.Before(q.grewAt)
	default:
		return p.report.LastChange().Before(q.report.LastChange())
	}
}

// due reports whether c has something to send about p now.
func due(c *channel, p *pending, now time.Time) bool {
	if p.stale(now) || now.Before(p.attemptsOf(c).next) {
		return false
	}
	if len(p.unsent[c]) > 0 {
		wait := gatherTime
		if inStorm(c, p) {
			wait = stormGatherTime
		}
		return now.Sub(p.grewAt) >= wait
	}
	at := p.refreshAt(c)
	return !at.IsZero() && !now.Before(at) && p.report.State != report.StateStorm
}

// sweep forgets records about which nothing is left to do, and counts the others for c.
func (n *Notifier) sweep(c *channel, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	queued := 0
	for id, p := range n.pending {
		n.forget(id, p, now)
		if !p.stale(now) && len(p.unsent[c]) > 0 {
			queued++
		}
	}
	n.metrics.queued.WithLabelValues(c.name).Set(float64(queued))
}

// finish takes the result of a delivery.
func (n *Notifier) finish(ctx context.Context, c *channel, d *delivery, messageID string, err error) {
	now := time.Now()
	failures := n.settle(c, d, rollback.Notified{MessageID: messageID, At: now.UTC()}, err)
	if err == nil || errors.Is(err, errMore) {
		n.metrics.notifications.WithLabelValues(c.name, resultSent).Inc()
		return
	}
	n.metrics.notifications.WithLabelValues(c.name, resultError).Inc()
	n.log.WarnContext(ctx, "notification not sent; trying again", "channel", c.name, "namespace", d.report.Namespace,
		"release", d.report.Release, "revision", d.report.Revision, "attempt", failures, "error", err)
}

// settle notes for every record of the delivery what was sent, and when the next
// attempt is due. It returns how often in a row it has failed.
func (n *Notifier) settle(c *channel, d *delivery, result rollback.Notified, err error) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.notBefore[c] = result.At.Add(c.pace)
	if wait, ok := errors.AsType[errLater](err); ok {
		n.notBefore[c] = result.At.Add(wait.after)
	}
	failures := 0
	for _, id := range d.ids {
		p, ok := n.pending[id]
		if !ok {
			continue
		}
		a, sent := p.attemptsOf(c), result
		switch {
		case err == nil && d.report.Record == "":
			n.stormSent[c] = result.At
			*a, sent = attempts{last: result.At}, rollback.Notified{Entries: []string{stormKey(p)}, At: result.At}
		case err == nil:
			*a = attempts{last: result.At}
			sent.Entries = keys(d.entries)
		case !errors.Is(err, errMore):
			a.failures++
			a.next = result.At.Add(backoff(a.failures, err))
		}
		failures = max(failures, a.failures)
		n.addSent(c, p, sent)
	}
	return failures
}

// addSent adds what c has sent about p. A new message ID is stored in the record at once.
func (n *Notifier) addSent(c *channel, p *pending, sent rollback.Notified) {
	before := p.sent[c.name]
	moved := sent.MessageID != "" && sent.MessageID != before.MessageID
	more := slices.ContainsFunc(sent.Entries, func(key string) bool { return !before.Has(key) })
	if !moved && !more {
		return
	}
	p.sent[c.name] = before.Add(sent).Bounded(keys(p.report.Timeline))
	p.updateUnsent(c)
	p.unsaved = p.unsaved || !c.idempotent
	if moved {
		select {
		case n.saveNow <- struct{}{}:
		default:
		}
	}
}

func keys(entries []report.Entry) []string {
	all := make([]string, 0, len(entries))
	for _, e := range entries {
		all = append(all, e.Key)
	}
	return all
}

// backoff returns how long to wait after that many failures.
func backoff(failures int, err error) time.Duration {
	if errors.Is(err, errRefused) {
		return lastRetry
	}
	return min(firstRetry<<min(failures-1, 20), lastRetry)
}
