package handler

import (
	"context"
	"sync"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/parallel"
)

// Limits of a list of all records.
const (
	// sharedFor is how long one list answers every request.
	sharedFor = 2 * time.Second
	// listTimeout limits the reading of one list.
	listTimeout = 15 * time.Second
)

// sharedReader is a Reader that lists all records once for requests that arrive at the
// same time or shortly after each other: the list is long, and comes from the API server.
// It drops the list afterwards, because it may take tens of megabytes.
type sharedReader struct {
	Reader

	mu      sync.Mutex
	current *recordList
}

// recordList is one list of records; done is closed once it has been read.
type recordList struct {
	done    chan struct{}
	records []rollback.Record
	err     error
	// panicked goes on in the requests that wait for the list: each is answered 500.
	panicked *parallel.Panic
}

func newSharedReader(r Reader) *sharedReader { return &sharedReader{Reader: r} }

// All returns every record as it was some seconds ago at most. The list is shared: callers
// must not change it.
func (s *sharedReader) All(ctx context.Context) ([]rollback.Record, error) {
	s.mu.Lock()
	list := s.current
	if list == nil {
		list = &recordList{done: make(chan struct{})}
		s.current = list
		// A request that is cancelled must not fail the others.
		go s.read(context.WithoutCancel(ctx), list)
	}
	s.mu.Unlock()
	select {
	case <-list.done:
		list.panicked.Raise()
		return list.records, list.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *sharedReader) read(ctx context.Context, list *recordList) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	list.panicked = parallel.Try(func() { list.records, list.err = s.Reader.All(ctx) })
	close(list.done)
	if list.err != nil || list.panicked != nil {
		s.drop()
		return
	}
	time.AfterFunc(sharedFor, s.drop)
}

func (s *sharedReader) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current = nil
}
