package handler

import (
	"context"
	"sync"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// shelfLife is for how long one reading of all records answers everybody.
const shelfLife = 2 * time.Second

// cached is a Reader that lists all records once for readers who come at the same
// time or shortly after each other: the list is long, and the API server's. It is
// dropped afterwards, for it may take tens of megabytes.
type cached struct {
	Reader

	mu      sync.Mutex
	reading *reading
}

// reading is one reading of all records.
type reading struct {
	done    chan struct{}
	records []rollback.Record
	err     error
}

func newCached(r Reader) *cached { return &cached{Reader: r} }

// All returns every record as of some seconds ago at most. The list is shared:
// nobody may change it.
func (c *cached) All(ctx context.Context) ([]rollback.Record, error) {
	c.mu.Lock()
	now := c.reading
	if now == nil {
		now = &reading{done: make(chan struct{})}
		c.reading = now
		// One reader's going away is not the others' failure.
		go c.read(context.WithoutCancel(ctx), now)
	}
	c.mu.Unlock()
	select {
	case <-now.done:
		return now.records, now.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// readTimeout limits one reading of all records.
const readTimeout = 15 * time.Second

func (c *cached) read(ctx context.Context, now *reading) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	now.records, now.err = c.Reader.All(ctx)
	close(now.done)
	drop := func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.reading = nil
	}
	if now.err != nil {
		drop()
		return
	}
	time.AfterFunc(shelfLife, drop)
}
