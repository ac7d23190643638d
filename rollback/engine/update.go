package engine

import (
	"context"
	"errors"
	"hash/maphash"
	"sync"

	"github.com/upcommerce/backout/rollback"
)

// maxConflicts bounds how often one write to the ledger is repeated.
const maxConflicts = 20

// lock returns the mutex for this process's writes to the release's records.
func (e *executor) lock(k rollback.Key) *recordLock {
	return &e.locks[maphash.Comparable(e.seed, k)%uint64(len(e.locks))]
}

// recordLock is a mutex that is held during requests: unlike that of a sync.Mutex, a wait for it
// lets the time of testing/synctest go on. Its zero value is free.
type recordLock struct {
	mu    sync.Mutex
	freed sync.Cond
	held  bool
}

// Lock waits until the lock is free, and takes it.
func (l *recordLock) Lock() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for l.freed.L = &l.mu; l.held; {
		l.freed.Wait()
	}
	l.held = true
}

// Unlock frees the lock.
func (l *recordLock) Unlock() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.held = false
	l.freed.Signal()
}

// update changes the stored record of that identity and returns it as stored. If another
// client wrote meanwhile, it repeats the change on what is stored then. It writes nothing
// if change returns false.
func (e *executor) update(ctx context.Context, r rollback.Record, change func(*rollback.Record) bool) (rollback.Record, error) {
	mu := e.lock(r.Key)
	mu.Lock()
	defer mu.Unlock()
	saved, err := saveChanged(ctx, e.ledger, func() (rollback.Record, bool, error) {
		stored, ok, err := e.ledger.Record(ctx, r.Key, r.Revision)
		if err != nil {
			return r, false, err
		}
		if !ok || stored.UID != r.UID || !stored.Opened.Equal(r.Opened) {
			return r, false, errGone
		}
		if r.Rollback != nil && stored.Rollback == nil || r.Restore != nil && stored.Restore == nil || r.Verify != nil && stored.Verify == nil {
			return stored, false, errStepGone
		}
		changed := change(&stored)
		return stored, changed, nil
	})
	if err == nil {
		e.keepStorm(saved)
	}
	return saved, err
}

// saveChanged saves the record that read returns, if it reports a change, and does both
// again as long as another client writes in between. It returns the record as stored.
func saveChanged(ctx context.Context, ledger rollback.Ledger, read func() (rollback.Record, bool, error)) (rollback.Record, error) {
	for attempt := 0; ; attempt++ {
		r, changed, err := read()
		if err != nil || !changed {
			return r, err
		}
		saved, err := ledger.Save(ctx, r)
		if !errors.Is(err, rollback.ErrConflict) || attempt == maxConflicts {
			return saved, err
		}
	}
}

// errStepGone says that a step that was begun is no longer in the stored record, or is not
// signed there: another client has changed the record. It is decided again on what is left.
var errStepGone = errors.New("a step that was begun is gone from the record: another client has changed it")

// errGone says that the record was deleted while it was worked on. One that was opened
// since about the same revision is another record.
var errGone = errors.New("the record was deleted")
