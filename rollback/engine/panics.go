package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/parallel"
)

// decisionPanic is a panic of the pure decision, which has changed nothing: only the record
// that it was about is set aside.
type decisionPanic struct{ *parallel.Panic }

func (p decisionPanic) Error() string {
	return fmt.Sprintf("the decision panicked: %v", p.Cause)
}

// safely returns the decision about a case with its trace. If it panics, safely panics with a
// decisionPanic.
func safely(c rollback.Case) (d rollback.Decision, trace rollback.Trace) {
	if p := parallel.Try(func() { d, trace = rollback.DecideWithTrace(c) }); p != nil {
		panic(decisionPanic{p})
	}
	return d, trace
}

// contain works on a record. A panic of the decision sets the record aside. Any other one, in
// this goroutine or in one that the work waits for, is counted in the record and goes on, so
// that it ends the process and another replica leads: a record with which that has happened
// twice is set aside. Its stack is logged here.
func (e *executor) contain(ctx context.Context, r rollback.Record, work func()) {
	p := parallel.Try(work)
	if p == nil {
		return
	}
	if decision, ok := p.Cause.(decisionPanic); ok {
		e.notePanic(ctx, r, decision.Panic, (*rollback.Record).NoteDecisionPanic)
		return
	}
	e.notePanic(ctx, r, p, (*rollback.Record).NotePanic)
	panic(p.Cause)
}

// notePanic stores a panic in the record that was worked on.
func (e *executor) notePanic(ctx context.Context, r rollback.Record, p *parallel.Panic, note func(*rollback.Record, any, time.Time)) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepTimeout)
	defer cancel()
	e.logPanic(ctx, r, p)
	stored, err := e.update(ctx, r, func(r *rollback.Record) bool {
		note(r, p.Cause, time.Now().UTC())
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
func (e *executor) logPanic(ctx context.Context, r rollback.Record, p *parallel.Panic) {
	e.log.ErrorContext(ctx, "panic", "namespace", r.Namespace, "release", r.Release, "revision", r.Revision,
		"error", fmt.Sprintf("%v\n%s", p.Cause, p.Stack))
}

// unlessItPanics returns what f returns, and the zero value if f panics: f is a part of the
// pure decision about an alert that is not stored yet. The decision itself, which is taken
// next, panics again, and sets the record aside.
func unlessItPanics[T any](f func() T) (value T) {
	defer func() { _ = recover() }()
	return f()
}
