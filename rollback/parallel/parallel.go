// Package parallel runs the parts of a step in goroutines of their own. A part that panics
// does not end the process by itself: its panic goes on in the step that waits for it, which
// knows the record that it works on.
//
// Work that no step waits for does not belong here: its panics end the process at once.
package parallel

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

// Panic is a panic that goes on in another goroutine than the one in which it began.
type Panic struct {
	// Cause is the value of the panic, and Stack that of the goroutine in which it began.
	Cause any
	Stack []byte
}

// Error returns the cause, and the stack below it.
func (p *Panic) Error() string { return fmt.Sprintf("panic: %v\n%s", p.Cause, p.Stack) }

// Raise panics with p, unless it is nil.
func (p *Panic) Raise() {
	if p != nil {
		panic(p)
	}
}

// Of returns what recover has returned as a Panic; nil if that is nil. The deferred function
// that recovers calls it, so that the stack is that of the panic.
func Of(recovered any) *Panic {
	if recovered == nil {
		return nil
	}
	if p, ok := recovered.(*Panic); ok {
		return p
	}
	return &Panic{Cause: recovered, Stack: debug.Stack()}
}

// Try calls f and returns its panic; nil if it does not panic.
func Try(f func()) (p *Panic) {
	defer func() { p = Of(recover()) }()
	f()
	return nil
}

// Catch returns the error of f; if f panics, that is a *Panic.
func Catch(f func() error) (err error) {
	if p := Try(func() { err = f() }); p != nil {
		return p
	}
	return err
}

// WaitGroup is a sync.WaitGroup whose Wait panics if a function has panicked. Its zero value
// is ready.
type WaitGroup struct {
	parts sync.WaitGroup
	first atomic.Pointer[Panic]
}

// Go calls f in a goroutine.
func (g *WaitGroup) Go(f func()) {
	g.parts.Go(func() {
		if p := Try(f); p != nil {
			g.first.CompareAndSwap(nil, p)
		}
	})
}

// Wait waits until all functions have returned. If some have panicked, it panics with the
// *Panic of one.
func (g *WaitGroup) Wait() {
	g.parts.Wait()
	g.first.Load().Raise()
}

// Group is an errgroup.Group whose Wait panics if a function has panicked.
type Group struct {
	parts *errgroup.Group
	first atomic.Pointer[Panic]
}

// NewGroup returns a group without a context.
func NewGroup() *Group { return &Group{parts: new(errgroup.Group)} }

// WithContext returns a group and a context that ends with the first error or panic, or when
// Wait returns.
func WithContext(ctx context.Context) (*Group, context.Context) {
	parts, ctx := errgroup.WithContext(ctx)
	return &Group{parts: parts}, ctx
}

// SetLimit bounds the goroutines at a time. It is called before Go.
func (g *Group) SetLimit(n int) { g.parts.SetLimit(n) }

// Go calls f in a goroutine, once there is room for one.
func (g *Group) Go(f func() error) {
	g.parts.Go(func() error {
		err := Catch(f)
		if p, panicked := errors.AsType[*Panic](err); panicked {
			g.first.CompareAndSwap(nil, p)
		}
		return err
	})
}

// Wait waits until all functions have returned, and returns the first error. If some have
// panicked, it panics with the *Panic of one.
func (g *Group) Wait() error {
	err := g.parts.Wait()
	g.first.Load().Raise()
	return err
}
