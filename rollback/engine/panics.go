package engine

import (
	"context"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// decisionPanic is a panic of the pure decision, which has changed nothing: only the record
// that it was about is set aside.
type decisionPanic struct {
	cause any
	stack []byte
}

func (p decisionPanic) Error() string {
	return fmt.Sprintf("the decision panicked: %v", p.cause)
}

// safely returns the decision about a case with its trace. If it panics, safely panics with a
// decisionPanic.
func safely(c rollback.Case) (rollback.Decision, rollback.Trace) {
	defer func() {
		if cause := recover(); cause != nil {
			panic(decisionPanic{cause, debug.Stack()})
		}
	}()
	return rollback.DecideWithTrace(c)
}

// contain works on a record. A panic of the decision sets the record aside. Any other one is
// counted in the record and goes on, so that it ends the process and another replica leads: a
// record with which that has happened twice is set aside.
func (e *executor) contain(ctx context.Context, r rollback.Record, work func()) {
	defer func() {
		cause := recover()
		if cause == nil {
			return
		}
		p, pure := cause.(decisionPanic)
		if !pure {
			p = decisionPanic{cause, debug.Stack()}
		}
		if pure {
			e.notePanic(ctx, r, p, (*rollback.Record).NoteDecisionPanic)
			return
		}
		e.notePanic(ctx, r, p, (*rollback.Record).NotePanic)
		panic(cause)
	}()
	work()
}

// notePanic stores a panic in the record that was worked on.
func (e *executor) notePanic(ctx context.Context, r rollback.Record, p decisionPanic, note func(*rollback.Record, any, time.Time)) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepTimeout)
	defer cancel()
	e.logPanic(ctx, r, p)
	stored, err := e.update(ctx, r, func(r *rollback.Record) bool {
		note(r, p.cause, time.Now().UTC())
		return true
	})
	if err != nil {
		e.log.ErrorContext(ctx, "the panic is not stored in its record", "namespace", r.Namespace, "release", r.Release, "revision", r.Revision, "error", err)
	}
	if stored.SetAside() {
		e.log.ErrorContext(ctx, "record set aside", "namespace", r.Namespace, "release", r.Release, "revision", r.Revision)
	}
}

// logPanic logs the cause and the stack of a panic over a record.
func (e *executor) logPanic(ctx context.Context, r rollback.Record, p decisionPanic) {
	e.log.ErrorContext(ctx, "panic", "namespace", r.Namespace, "release", r.Release, "revision", r.Revision,
		"error", fmt.Sprintf("%v\n%s", p.cause, p.stack))
}

// unlessItPanics returns what f returns, and the zero value if f panics: f is a part of the
// pure decision about an alert that is not stored yet. The decision itself, which is taken
// next, panics again, and sets the record aside.
func unlessItPanics[T any](f func() T) (value T) {
	defer func() { _ = recover() }()
	return f()
}
