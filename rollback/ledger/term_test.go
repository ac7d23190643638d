package ledger

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// TestTermIsHeldByTheClockThatSaysMore: the term was renewed 100 s after it was made, at
// noon; a renewal is good for 5 s.
func TestTermIsHeldByTheClockThatSaysMore(t *testing.T) {
	noon := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name            string
		monotonic, wall time.Duration // since the renewal
		held            bool
	}{
		{"the renewal was just now", 0, 0, true},
		{"the limit is reached", 5 * time.Second, 5 * time.Second, true},
		{"a renewal is overdue", 5*time.Second + 1, 5*time.Second + 1, false},
		{"the process was stopped for 30 s", 30 * time.Second, 30 * time.Second, false},
		{"the machine slept for 30 s: its monotonic clock stopped", time.Second, 31 * time.Second, false},
		{"the wall clock was set back an hour", time.Second, time.Second - time.Hour, true},
		{"the wall clock was set back an hour, and a renewal is overdue", 6 * time.Second, 6*time.Second - time.Hour, false},
		{"the wall clock was set forward: the machine could have slept", time.Second, time.Minute, false},
	} {
		term := newTerm(5 * time.Second)
		term.renew(moment{monotonic: 100 * time.Second, wall: noon})
		err := term.held(moment{monotonic: 100*time.Second + c.monotonic, wall: noon.Add(c.wall)})
		if (err == nil) != c.held {
			t.Errorf("%s: want held %t, got %v", c.name, c.held, err)
		}
		if err != nil && !errors.Is(err, ErrNotLeader) {
			t.Errorf("%s: the error is an ErrNotLeader: got %v", c.name, err)
		}
	}
}

func TestTermBeginsAndEndsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		term := newTerm(5 * time.Second)
		if err := term.held(term.now()); !errors.Is(err, ErrNotLeader) || term.active() {
			t.Errorf("a replica that never had the lease does not hold it: got %v", err)
		}
		term.renew(term.now())
		if err := term.held(term.now()); err != nil || !term.active() {
			t.Errorf("a replica that took the lease holds it: got %v", err)
		}
		time.Sleep(6 * time.Second)
		if err := term.held(term.now()); err == nil {
			t.Error("a lease is held until the limit")
		}
		term.renew(term.now())
		if err := term.held(term.now()); err != nil {
			t.Errorf("a late renewal that succeeds proves that no other replica led: got %v", err)
		}
		first := errors.New("the first cause")
		term.end(first)
		term.end(errors.New("the second"))
		term.renew(term.now())
		if err := term.held(term.now()); !errors.Is(err, first) || !errors.Is(err, ErrNotLeader) || term.active() {
			t.Errorf("a term that ended does not begin again, and keeps its cause: got %v", err)
		}
	})
}
