package parallel_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/upcommerce/backout/rollback/parallel"
)

// defect panics; its name is in the stack.
func defect() { panic("a defect") }

// caught checks that f panics in this goroutine, with the cause and the stack of the other one.
func caught(t *testing.T, f func()) {
	t.Helper()
	p := parallel.Try(f)
	if p == nil {
		t.Fatal("a panic of a part goes on in the step that waits for it: there was none")
	}
	if p.Cause != "a defect" || !strings.Contains(p.Error(), "parallel_test.defect") || strings.Count(p.Error(), "a defect") != 1 {
		t.Errorf("the panic has its cause, and once the stack of the goroutine in which it began: got %s", p)
	}
}

func TestAPanicGoesOnInTheStepThatWaits(t *testing.T) {
	t.Run("WaitGroup", func(t *testing.T) {
		var all parallel.WaitGroup
		done := false
		all.Go(defect)
		all.Go(func() { done = true })
		caught(t, all.Wait)
		if !done {
			t.Error("Wait panics once all parts have returned")
		}
	})
	t.Run("Group", func(t *testing.T) {
		all, ctx := parallel.WithContext(t.Context())
		all.SetLimit(2)
		all.Go(func() error {
			<-ctx.Done() // a panic ends the other parts, as an error does
			return context.Cause(ctx)
		})
		all.Go(func() error { defect(); return nil })
		caught(t, func() { _ = all.Wait() })
	})
	t.Run("a part of a part", func(t *testing.T) {
		outer := parallel.NewGroup()
		outer.Go(func() error {
			var inner parallel.WaitGroup
			inner.Go(defect)
			inner.Wait()
			return nil
		})
		caught(t, func() { _ = outer.Wait() })
	})
	t.Run("after an error", func(t *testing.T) {
		all, failed := parallel.NewGroup(), make(chan struct{})
		all.SetLimit(2)
		all.Go(func() error { defer close(failed); return errors.New("not now") })
		all.Go(func() error { <-failed; defect(); return nil })
		caught(t, func() { _ = all.Wait() })
	})
}

func TestPartsThatDoNotPanicReturnTheirError(t *testing.T) {
	want := errors.New("not now")
	all := parallel.NewGroup()
	all.Go(func() error { return nil })
	all.Go(func() error { return want })
	if err := all.Wait(); !errors.Is(err, want) {
		t.Errorf("Wait returns %v, want %v", err, want)
	}
	if err := parallel.Catch(func() error { return want }); !errors.Is(err, want) {
		t.Errorf("Catch returns %v, want %v", err, want)
	}
	var none parallel.WaitGroup
	none.Go(func() {})
	none.Wait()
}
