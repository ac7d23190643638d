package ledger

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrNotLeader says that this process may not write: another one leads, or could.
var ErrNotLeader = errors.New("this replica does not lead")

// moment is a point in time by two clocks. A process that was stopped finds both
// of them ahead. While the whole machine sleeps, the steady one stands still; the
// wall clock may be set, backwards too.
type moment struct {
	// steady is the time since the term was made.
	steady time.Duration
	wall   time.Time
}

// since returns the time that passed from earlier to m, by whichever clock says
// more.
func (m moment) since(earlier moment) time.Duration {
	return max(m.steady-earlier.steady, m.wall.Sub(earlier.wall))
}

// term is what this process knows of its own leadership. It begins with the first
// renewal and ends once. It is safe for concurrent use.
type term struct {
	made time.Time
	// limit is how old the last renewal may be for this process to write.
	limit time.Duration

	mu      sync.Mutex
	begun   bool
	renewed moment
	ended   error
}

func newTerm(limit time.Duration) *term { return &term{made: time.Now(), limit: limit} }

func (t *term) now() moment {
	now := time.Now()
	return moment{steady: now.Sub(t.made), wall: now.Round(0)}
}

// renew notes a renewal that succeeded. What counts is when it was asked for: a
// replica that waits for the lease to expire counts from when it saw the answer,
// which was later.
func (t *term) renew(asked moment) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begun, t.renewed = true, asked
}

// end ends the term for good. The first cause stands.
func (t *term) end(cause error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended == nil {
		t.ended = cause
	}
}

// over returns why the term ended; nil if it did not.
func (t *term) over() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ended
}

// runs reports whether the term has begun and not ended. The last renewal may be
// too old nevertheless.
func (t *term) runs() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.begun && t.ended == nil
}

// held returns nil if nobody else can lead at that moment, and else an
// ErrNotLeader with the reason.
func (t *term) held(at moment) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch age := at.since(t.renewed); {
	case t.ended != nil:
		return fmt.Errorf("%w: %w", ErrNotLeader, t.ended)
	case !t.begun:
		return ErrNotLeader
	case age > t.limit:
		return fmt.Errorf("%w for certain: its lease was renewed %s ago, and %s is the limit", ErrNotLeader, age.Round(time.Millisecond), t.limit)
	default:
		return nil
	}
}
