package notify

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// noteInterval is how often what was told is written into the records. What was
// told within it may be told again by the next leader, if this one is killed.
const noteInterval = time.Second

// noteRest is how long no write is tried after one that failed.
const noteRest = 10 * time.Second

// noteTimeout limits one write, and all that are made at the end.
const noteTimeout = 3 * time.Second

// notes writes what was told until ctx ends.
func (t *Teller) notes(ctx context.Context) {
	tick, look := time.NewTicker(noteInterval), time.NewTicker(refreshInterval)
	defer tick.Stop()
	defer look.Stop()
	var rest time.Time
	for {
		select {
		case <-tick.C:
		case <-t.moved:
		case <-look.C:
			t.forgetGone(ctx)
		case <-ctx.Done():
			return
		}
		if now := time.Now(); now.After(rest) && t.saveAll(ctx) != nil {
			rest = now.Add(noteRest)
		}
	}
}

// forgetGone forgets open records that somebody has deleted, which nobody tells of:
// else an alert about one would be refreshed for ever.
func (t *Teller) forgetGone(ctx context.Context) {
	for _, id := range t.refreshed() {
		limited, cancel := context.WithTimeout(ctx, noteTimeout)
		records, err := t.ledger.Records(limited, id.key)
		cancel()
		if err != nil || slices.ContainsFunc(records, func(r rollback.Record) bool { return identify(&r) == id }) {
			continue
		}
		t.mu.Lock()
		delete(t.known, id)
		t.mu.Unlock()
	}
}

// refreshed returns what some channel is told again and again.
func (t *Teller) refreshed() []identity {
	t.mu.Lock()
	defer t.mu.Unlock()
	var ids []identity
	for id, m := range t.known {
		if slices.ContainsFunc(t.channels, func(c *channel) bool { return !m.refresh(c).IsZero() }) {
			ids = append(ids, id)
		}
	}
	return ids
}

// saveAll writes what is not written. It returns the first error that is worth a
// rest: what conflicts with a step is tried again soon.
func (t *Teller) saveAll(ctx context.Context) error {
	for id, told := range t.unsaved() {
		if ctx.Err() != nil || t.leads() != nil {
			return nil
		}
		limited, cancel := context.WithTimeout(ctx, noteTimeout)
		err := t.save(limited, id, told)
		cancel()
		switch {
		case err == nil:
			t.saved(id, told)
		case errors.Is(err, rollback.ErrConflict):
		case ctx.Err() == nil:
			t.log.WarnContext(ctx, "what was told is not noted; trying again", "namespace", id.key.Namespace, "release", id.key.Release, "error", err)
			return err
		}
	}
	return nil
}

// unsaved returns what is to be written.
func (t *Teller) unsaved() map[identity]map[string]rollback.Told {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make(map[identity]map[string]rollback.Told)
	for id, m := range t.known {
		if !m.unsaved {
			continue
		}
		all[id] = make(map[string]rollback.Told)
		for _, c := range t.channels {
			if told, ok := m.told[c.name]; ok && !c.idempotent {
				all[id][c.name] = told
			}
		}
	}
	return all
}

// save adds what was told to the stored record. It takes no lock of the engine's:
// a step that writes at the same time wins, and ErrConflict is tried again later.
// A record that is gone needs nothing.
func (t *Teller) save(ctx context.Context, id identity, told map[string]rollback.Told) error {
	records, err := t.ledger.Records(ctx, id.key)
	if err != nil {
		return err
	}
	for _, r := range records {
		if identify(&r) != id {
			continue
		}
		all := maps.Clone(r.Told)
		if all == nil {
			all = make(map[string]rollback.Told)
		}
		for name, one := range told {
			all[name] = all[name].Add(one)
		}
		r.Told = all
		_, err := t.ledger.Save(ctx, r)
		return err
	}
	return nil
}

// saved notes that the record has it, unless there is more by now.
func (t *Teller) saved(id identity, told map[string]rollback.Told) {
	t.mu.Lock()
	defer t.mu.Unlock()
	m, ok := t.known[id]
	if !ok {
		return
	}
	m.unsaved = false
	for _, c := range t.channels {
		now := m.told[c.name]
		if !c.idempotent && (len(now.Lines) != len(told[c.name].Lines) || now.Place != told[c.name].Place) {
			m.unsaved = true
		}
	}
}
