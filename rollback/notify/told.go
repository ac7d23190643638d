package notify

import (
	"context"
	"errors"
	"maps"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// noteInterval is how often what was told is written into the records. What was
// told within it may be told again by the next leader, if this one is killed.
const noteInterval = time.Second

// noteTimeout limits one write, and all that are made at the end.
const noteTimeout = 3 * time.Second

// notes writes what was told until ctx ends.
func (t *Teller) notes(ctx context.Context) {
	tick := time.NewTicker(noteInterval)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-t.moved:
		case <-ctx.Done():
			return
		}
		t.saveAll(ctx)
	}
}

func (t *Teller) saveAll(ctx context.Context) {
	for id, told := range t.unsaved() {
		if ctx.Err() != nil || t.leads() != nil {
			return
		}
		limited, cancel := context.WithTimeout(ctx, noteTimeout)
		err := t.save(limited, id, told)
		cancel()
		switch {
		case err == nil:
			t.saved(id, told)
		case !errors.Is(err, rollback.ErrConflict) && ctx.Err() == nil:
			t.log.WarnContext(ctx, "what was told is not noted; trying again", "namespace", id.key.Namespace, "release", id.key.Release, "error", err)
		}
	}
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
