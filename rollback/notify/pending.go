package notify

import (
	"slices"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
)

// Bounds of what is kept in memory, and for how long.
const (
	// maxPending bounds the records with something left to send.
	maxPending = 1000
	// maxUnsigned bounds those of one namespace that backout has not signed: other clients can
	// store any number of them. Each is counted and logged by the ledger.
	maxUnsigned = 10
	// staleAfter is the time after its last change when a closed record is not sent any
	// more.
	staleAfter = time.Hour
)

// identity is one record of one installation of a release. The list of sent entries in an
// unsigned record counts for that state alone: with it, another client could silence the
// signed one.
type identity struct {
	key      rollback.Key
	uid      string
	opened   int64 // Unix, in nanoseconds
	unsigned bool
}

func identityOf(r *rollback.Record) identity {
	return identity{key: r.Key, uid: r.UID, opened: r.Opened.UnixNano(), unsigned: r.Unsigned}
}

// pending is a record with something to send.
type pending struct {
	report report.Report
	// sent is what each channel has sent, by this process or an earlier one; unsaved
	// says that the record does not store all of it yet.
	sent    map[string]rollback.Notified
	unsaved bool
	// unsent is what each channel has left to send. It follows from report and sent, and
	// is read far more often than these change.
	unsent map[*channel][]report.Entry
	// grewAt is when the timeline became longer.
	grewAt   time.Time
	attempts map[*channel]*attempts
}

// attempts are those of a channel to send a record.
type attempts struct {
	failures int
	// next is when the channel tries again, last when it succeeded last.
	next, last time.Time
}

func newPending() *pending {
	return &pending{sent: make(map[string]rollback.Notified), unsent: make(map[*channel][]report.Entry), attempts: make(map[*channel]*attempts)}
}

func (p *pending) attemptsOf(c *channel) *attempts {
	if p.attempts[c] == nil {
		p.attempts[c] = &attempts{}
	}
	return p.attempts[c]
}

// updateUnsent computes what c has left to send.
func (p *pending) updateUnsent(c *channel) {
	sent := p.sent[c.name]
	p.unsent[c] = slices.DeleteFunc(slices.Clone(c.selects(&p.report)), func(e report.Entry) bool { return sent.Has(e.Key) })
}

// refreshAt returns when c has to send the report again although it has no new entry;
// zero for never.
func (p *pending) refreshAt(c *channel) time.Time {
	if c.refreshes == nil || !c.refreshes(&p.report) {
		return time.Time{}
	}
	return p.attemptsOf(c).last.Add(refreshInterval)
}

// stale reports whether the record is too old to be sent.
func (p *pending) stale(now time.Time) bool {
	return p.report.Closed && now.Sub(p.report.LastChange()) > staleAfter
}

// forgettable reports whether there is nothing to send or to store about the record, and
// never will be.
func (p *pending) forgettable(now time.Time) bool {
	return !p.unsaved && (p.stale(now) || len(p.report.Timeline) == 0)
}

// Notify implements rollback.Notifier.
func (n *Notifier) Notify(r rollback.Record) {
	if len(n.channels) == 0 {
		return
	}
	now := time.Now()
	id, rep := identityOf(&r), report.Of(r, n.settings)
	n.mu.Lock()
	defer n.mu.Unlock()
	if !id.unsigned {
		delete(n.pending, identity{key: id.key, uid: id.uid, opened: id.opened, unsigned: true})
	}
	p, ok := n.pending[id]
	if !ok {
		p = newPending()
	}
	if len(rep.Timeline) > len(p.report.Timeline) && now.Sub(p.grewAt) > gatherTime {
		p.grewAt = now
	}
	p.report = rep
	timeline := keys(rep.Timeline)
	for name, sent := range r.Notified {
		if sent.At.After(now) {
			sent.At = now // a storm is not sent again for a while after it
		}
		p.sent[name] = sent.Add(p.sent[name]).Bounded(timeline)
	}
	for _, c := range n.channels {
		p.updateUnsent(c)
	}
	if ok || n.admits(id, p, now) {
		n.pending[id] = p
	}
}

// admits reports whether the record is to be kept: not if there is nothing to send, nor,
// counted as dropped, if the memory is full of records with something left to send. An
// unsigned record gives way to a signed one.
func (n *Notifier) admits(id identity, p *pending, now time.Time) bool {
	if p.forgettable(now) || id.unsigned && n.unsignedIn(id.key.Namespace) >= maxUnsigned {
		return false
	}
	for id, other := range n.pending {
		if len(n.pending) < maxPending {
			break
		}
		if n.idle(other) {
			delete(n.pending, id)
		}
	}
	if !id.unsigned && len(n.pending) >= maxPending {
		n.evictUnsigned()
	}
	if len(n.pending) < maxPending {
		return true
	}
	for _, c := range n.channels {
		if len(p.unsent[c]) > 0 {
			n.drop(c, p)
		}
	}
	return false
}

// unsignedIn returns how many unsigned records of a namespace are kept.
func (n *Notifier) unsignedIn(namespace string) (count int) {
	for id := range n.pending {
		if id.unsigned && id.key.Namespace == namespace {
			count++
		}
	}
	return count
}

// evictUnsigned drops an unsigned record.
func (n *Notifier) evictUnsigned() {
	for id, p := range n.pending {
		if id.unsigned {
			for _, c := range n.channels {
				n.drop(c, p)
			}
			delete(n.pending, id)
			return
		}
	}
}

// idle reports whether there is nothing to send, to refresh or to store about the record
// now. It is kept for a while all the same, so that nothing is sent twice.
func (n *Notifier) idle(p *pending) bool {
	for _, c := range n.channels {
		if len(p.unsent[c]) > 0 || !p.refreshAt(c).IsZero() {
			return false
		}
	}
	return !p.unsaved
}

// forget removes a forgettable record, and counts what failed to be sent as dropped.
func (n *Notifier) forget(id identity, p *pending, now time.Time) {
	if !p.forgettable(now) {
		return
	}
	delete(n.pending, id)
	for _, c := range n.channels {
		if p.attemptsOf(c).failures > 0 && len(p.unsent[c]) > 0 {
			n.drop(c, p)
		}
	}
}

// drop counts a notification that is never sent.
func (n *Notifier) drop(c *channel, p *pending) {
	n.metrics.notifications.WithLabelValues(c.name, resultDropped).Inc()
	n.log.Warn("notification dropped", "channel", c.name, "namespace", p.report.Namespace,
		"release", p.report.Release, "revision", p.report.Revision)
}
