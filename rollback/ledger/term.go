package ledger

import (
	"errors"
	"fmt"
	"sync"
	"time"
)

// ErrNotLeader says that this process may not write: another one leads, or could.
var ErrNotLeader = errors.New("this replica does not lead")

// moment is a point in time by two clocks. A process that was stopped finds both of them
// ahead. While the whole machine sleeps, the monotonic one stops; the wall clock may be
// set, backwards too.
type moment struct {
	// monotonic is the time since the term was made.
	monotonic time.Duration
	wall      time.Time
}

// since returns the time that passed from earlier to m, by the clock that says more.
func (m moment) since(earlier moment) time.Duration {
	return max(m.monotonic-earlier.monotonic, m.wall.Sub(earlier.wall))
}

// term is what this process knows of its own leadership. It begins with the first renewal
// and ends once. It is safe for concurrent use.
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
	return moment{monotonic: now.Sub(t.made), wall: now.Round(0)}
}

// renew records a renewal that succeeded. It counts from when the request was sent: a
// replica that waits for the lease to expire counts from when it saw the new state, which
// was later.
func (t *term) renew(sent moment) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begun, t.renewed = true, sent
}

// end ends the term for good. The first cause stays.
func (t *term) end(cause error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended == nil {
		t.ended = cause
	}
}

// cause returns why the term ended; nil if it goes on.
func (t *term) cause() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.ended
}

// active reports whether the term has begun and not ended. The last renewal may be too
// old nevertheless.
func (t *term) active() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.begun && t.ended == nil
}

// held returns nil if no other replica can lead at that moment, and an ErrNotLeader with
// the reason otherwise.
func (t *term) held(at moment) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch age := at.since(t.renewed); {
	case t.ended != nil:
		return fmt.Errorf("%w: %w", ErrNotLeader, t.ended)
	case !t.begun:
		return ErrNotLeader
	case age > t.limit:
		return fmt.Errorf("%w: its lease was renewed %s ago, longer than the limit of %s", ErrNotLeader, age.Round(time.Millisecond), t.limit)
	default:
		return nil
	}
}
