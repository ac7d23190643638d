package main

import (
	"context"
	"sync/atomic"

	"github.com/upcommerce/backout/tests/env/programs"
	"github.com/upcommerce/backout/tests/env/progress"
)

// compilation is the compilation of what the second act needs, while the first act runs.
type compilation struct {
	work atomic.Pointer[programs.Work]
	done chan struct{}
	err  error // set before done is closed
}

// compile begins to compile programs.
func compile(ctx context.Context, all []programs.Binary) *compilation {
	c := &compilation{done: make(chan struct{})}
	c.work.Store(&programs.Work{Programs: all[0].Name})
	go func() {
		defer close(c.done)
		c.err = programs.Compile(ctx, programs.Plan{Rounds: [][]programs.Binary{all}}, func(w programs.Work) { c.work.Store(&w) })
	}()
	return c
}

// await returns when everything is compiled, and shows until then how much is left.
func (c *compilation) await(ctx context.Context, bar *progress.Progress) error {
	select {
	case <-c.done:
		return c.err
	default:
	}
	bar.Follow(func() string { return c.work.Load().String() })
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-c.done:
		return c.err
	}
}
