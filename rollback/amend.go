package rollback

import (
	"context"
	"errors"
	"hash/maphash"
	"sync"
)

func (e *Engine) lock(k Key) *sync.Mutex {
	return &e.locks[maphash.Comparable(e.seed, k)%uint64(len(e.locks))]
}

// amend changes the stored record of that identity and returns it as stored. It
// repeats the change on what is then stored when somebody else wrote meanwhile.
// Nothing is written if change returns false.
func (e *Engine) amend(ctx context.Context, r Record, change func(*Record) bool) (Record, error) {
	mu := e.lock(r.Key)
	mu.Lock()
	defer mu.Unlock()
	for attempt := 0; ; attempt++ {
		stored, ok, err := e.ledger.Record(ctx, r.Key, r.Revision)
		if err != nil {
			return r, err
		}
		if !ok || stored.UID != r.UID || !stored.Opened.Equal(r.Opened) {
			return r, errGone
		}
		if !change(&stored) {
			return stored, nil
		}
		saved, err := e.ledger.Save(ctx, stored)
		if !errors.Is(err, ErrConflict) || attempt == maxConflicts {
			return saved, err
		}
	}
}

// errGone says that the record was deleted while it was worked on. One that was
// opened since about the same revision is another.
var errGone = errors.New("the record was deleted")

func find(records []Record, uid string) (Record, bool) {
	for _, r := range records {
		if r.UID == uid {
			return r, true
		}
	}
	return Record{}, false
}
