package notify

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
)

// Times of writes to the records.
const (
	// saveInterval is how often what was sent is stored in the records. If this process
	// is killed, the next leader may send again what was sent within it.
	saveInterval = time.Second
	// savePause is the time without writes after one that failed.
	savePause = 10 * time.Second
	// saveTimeout limits one write, and all writes at the end.
	saveTimeout = 3 * time.Second
)

// saveLoop stores what was sent until ctx ends.
func (n *Notifier) saveLoop(ctx context.Context) {
	save, check := time.NewTicker(saveInterval), time.NewTicker(refreshInterval)
	defer save.Stop()
	defer check.Stop()
	var notBefore time.Time
	for {
		select {
		case <-save.C:
		case <-n.saveNow:
		case <-check.C:
			n.forgetDeleted(ctx)
		case <-ctx.Done():
			return
		}
		if now := time.Now(); now.After(notBefore) && n.saveAll(ctx) != nil {
			notBefore = now.Add(savePause)
		}
	}
}

// forgetDeleted forgets records that another client has deleted, which Notify does not
// learn: else an alert about one would be refreshed for ever.
func (n *Notifier) forgetDeleted(ctx context.Context) {
	for _, id := range n.refreshed() {
		limited, cancel := context.WithTimeout(ctx, saveTimeout)
		records, err := n.ledger.Records(limited, id.key, rollback.Stored)
		cancel()
		if err != nil || slices.ContainsFunc(records, func(r rollback.Record) bool { return identityOf(&r) == id }) {
			continue
		}
		n.mu.Lock()
		delete(n.pending, id)
		n.mu.Unlock()
	}
}

// refreshed returns the records that some channel sends again and again.
func (n *Notifier) refreshed() []identity {
	n.mu.Lock()
	defer n.mu.Unlock()
	var ids []identity
	for id, p := range n.pending {
		if slices.ContainsFunc(n.channels, func(c *channel) bool { return !p.refreshAt(c).IsZero() }) {
			ids = append(ids, id)
		}
	}
	return ids
}

// saveAll stores what is not stored. It returns the first error after which writes have
// to pause, which is any error but a conflict with a step.
func (n *Notifier) saveAll(ctx context.Context) error {
	for id, sent := range n.unsaved() {
		if ctx.Err() != nil || n.leads() != nil {
			return nil
		}
		limited, cancel := context.WithTimeout(ctx, saveTimeout)
		err := n.save(limited, id, sent)
		cancel()
		switch {
		case err == nil:
			n.markSaved(id, sent)
		case errors.Is(err, rollback.ErrConflict):
		case ctx.Err() == nil:
			n.log.WarnContext(ctx, "sent notifications not stored in the record; trying again",
				"namespace", id.key.Namespace, "release", id.key.Release, "error", err)
			return err
		}
	}
	return nil
}

// unsaved returns what has to be stored, by record and channel.
func (n *Notifier) unsaved() map[identity]map[string]rollback.Notified {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := make(map[identity]map[string]rollback.Notified)
	for id, p := range n.pending {
		if !p.unsaved {
			continue
		}
		all[id] = make(map[string]rollback.Notified)
		for _, c := range n.channels {
			if sent, ok := p.sent[c.name]; ok && !c.idempotent {
				all[id][c.name] = sent
			}
		}
	}
	return all
}

// save adds what was sent to the stored record. It takes no lock of the engine: a step
// that writes at the same time wins, and after ErrConflict save is tried again later. A
// record that is deleted needs nothing.
func (n *Notifier) save(ctx context.Context, id identity, sent map[string]rollback.Notified) error {
	records, err := n.ledger.Records(ctx, id.key, rollback.Stored)
	if err != nil {
		return err
	}
	for _, r := range records {
		if identityOf(&r) != id {
			continue
		}
		timeline := keys(report.Of(r, n.settings).Timeline)
		all := maps.Clone(r.Notified)
		if all == nil {
			all = make(map[string]rollback.Notified)
		}
		for name, one := range sent {
			all[name] = all[name].Add(one).Bounded(timeline)
		}
		r.Notified = all
		_, err := n.ledger.Save(ctx, r)
		return err
	}
	return nil
}

// markSaved notes that the record stores sent; a channel may have sent more meanwhile.
func (n *Notifier) markSaved(id identity, sent map[string]rollback.Notified) {
	n.mu.Lock()
	defer n.mu.Unlock()
	p, ok := n.pending[id]
	if !ok {
		return
	}
	p.unsaved = false
	for _, c := range n.channels {
		now := p.sent[c.name]
		if !c.idempotent && (!slices.Equal(now.Entries, sent[c.name].Entries) || now.MessageID != sent[c.name].MessageID) {
			p.unsaved = true
		}
	}
}
