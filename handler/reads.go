package handler

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/parallel"
)

// Bounds of the reads behind the ops listener, which needs no token.
const (
	// maxReads is how many answers about single releases and records are read and cached at
	// a time.
	maxReads = 64
	// readyFor is how long one check of the API server answers /readyz.
	readyFor = time.Second
)

// errTooManyReads says that too many records are being read.
var errTooManyReads = errors.New("too many records are read at once: try again")

// recordReader is a Reader of opted-in releases, and in lists of signed records. It answers requests about the same
// release or record that arrive within some seconds from one read.
type recordReader struct {
	Reader

	allows func(rollback.Key) bool

	mu    sync.Mutex
	lists map[recordID]*recordList
}

// recordID names a record, or, with revision 0, all records of a release.
type recordID struct {
	rollback.Key

	revision int
}

func newRecordReader(r Reader, allows func(rollback.Key) bool) *recordReader {
	return &recordReader{Reader: r, allows: allows, lists: make(map[recordID]*recordList)}
}

// All returns every record of an opted-in release, and those of others that backout itself
// has signed: a release may have been opted in when its canary was set to zero.
func (r *recordReader) All(ctx context.Context) ([]rollback.Record, error) {
	all, err := r.Reader.All(ctx)
	shown := make([]rollback.Record, 0, len(all))
	for _, record := range all {
		if !record.Unsigned || r.allows(record.Key) {
			shown = append(shown, record)
		}
	}
	return shown, err
}

// Records returns the records of a release, as they were some seconds ago at most; none
// for one that is not opted in. Callers must not change them.
func (r *recordReader) Records(ctx context.Context, k rollback.Key, c rollback.Consistency) ([]rollback.Record, error) {
	return r.shared(ctx, recordID{Key: k}, func(ctx context.Context) ([]rollback.Record, error) { return r.Reader.Records(ctx, k, c) })
}

// Record returns one record, as it was some seconds ago at most, and whether there is one;
// none for a release that is not opted in. Callers must not change it.
func (r *recordReader) Record(ctx context.Context, k rollback.Key, revision int) (rollback.Record, bool, error) {
	if revision < 1 {
		return rollback.Record{}, false, nil
	}
	found, err := r.shared(ctx, recordID{k, revision}, func(ctx context.Context) ([]rollback.Record, error) {
		record, ok, err := r.Reader.Record(ctx, k, revision)
		if !ok {
			return nil, err
		}
		return []rollback.Record{record}, err
	})
	if len(found) == 0 {
		return rollback.Record{}, false, err
	}
	return found[0], true, err
}

// shared returns what one read returns to every request until sharedFor after it.
func (r *recordReader) shared(ctx context.Context, id recordID, read func(context.Context) ([]rollback.Record, error)) ([]rollback.Record, error) {
	if !r.allows(id.Key) {
		return nil, nil
	}
	list, first := r.list(id)
	if list == nil {
		return nil, errTooManyReads
	}
	if first {
		// A request that is cancelled must not fail the others.
		go r.read(context.WithoutCancel(ctx), id, list, read)
	}
	select {
	case <-list.done:
		list.panicked.Raise()
		return list.records, list.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// list returns the list of that name, and whether it is new, so that the caller has to
// read it; nil if there are too many.
func (r *recordReader) list(id recordID) (*recordList, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if list := r.lists[id]; list != nil {
		return list, false
	}
	if len(r.lists) >= maxReads {
		return nil, false
	}
	list := &recordList{done: make(chan struct{})}
	r.lists[id] = list
	return list, true
}

func (r *recordReader) read(ctx context.Context, id recordID, list *recordList, read func(context.Context) ([]rollback.Record, error)) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	list.panicked = parallel.Try(func() { list.records, list.err = read(ctx) })
	close(list.done)
	time.AfterFunc(sharedFor, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.lists, id)
	})
}

// sharedCheck is a check whose result answers every caller for a while. It is safe for
// concurrent use.
type sharedCheck struct {
	check func(context.Context) error

	mu   sync.Mutex
	last time.Time
	err  error
}

// run returns the last result if it is new enough, else that of a new check.
func (s *sharedCheck) run(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.last.IsZero() && time.Since(s.last) < readyFor {
		return s.err
	}
	// A caller that disconnects must not make the others not ready.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), readyTimeout)
	defer cancel()
	s.err = s.check(ctx)
	s.last = time.Now()
	return s.err
}
