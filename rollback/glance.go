package rollback

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// errGlance says that what is at hand is not enough to go by.
var errGlance = errors.New("what is at hand does not lead to a shed")

// glance returns what is at hand about a release, without asking anybody, and
// whether anything is. It may be outdated, and does not know of pauses. Nothing
// rests on it alone: a shed that is decided on it is decided again, before it is
// done, on what is stored by then (confirm), and whatever drops or delays an alert is
// decided on what look reads.
func (e *Engine) glance(k Key) (heard, bool) {
	history, known := e.releases.HistoryAtHand(k)
	if !known {
		return heard{}, false
	}
	records, known := e.ledger.RecordsAtHand(k)
	return heard{key: k, history: history, records: records, glanced: true}, known
}

// hear returns what the accusations of a release are to be decided on, and counts
// the release for a storm. What is at hand is enough where it makes them accusations
// of the newest revision.
func (e *Engine) hear(ctx context.Context, k Key, accs []Accusation) (heard, error) {
	if h, ok := e.glance(k); ok {
		h.accs = accs
		if e.count(h) {
			return h, nil
		}
	}
	h, err := e.look(ctx, k, e.ledger.Recent)
	if err != nil {
		return h, err
	}
	h.accs = accs
	e.count(h)
	return h, nil
}

// enough reports whether the decision about the record may rest on what it was taken
// on so far: a glance is enough for a shed that was not tried yet, and for nothing
// else.
func (h heard) enough(r Record, decided bool) bool {
	return !h.glanced || decided && r.Decision().Shed && !r.Shed.tried()
}

// confirm returns what is asked right before a shed that was decided on a glance is
// done, beside whether the revision is still the newest: it returns ErrMoved if what
// is stored about the release by now leads to another decision, or if somebody has
// closed the record.
func (e *Engine) confirm(stored, decided Record, facts Case, seen insight, now time.Time) func(context.Context) error {
	return func(ctx context.Context) error {
		records, err := e.ledger.Since(ctx, stored)
		if err != nil {
			return err
		}
		if own, ok := find(records, stored.UID); !ok || !own.Closed.IsZero() {
			return fmt.Errorf("the record of revision %d is closed: %w", stored.Revision, ErrMoved)
		}
		again := stored.clone()
		facts.Records = records
		again.judge(facts, seen, now)
		if !again.Decision().Same(decided.Decision()) {
			return fmt.Errorf("%s is what is decided by now: %w", again.Decision().Verdict, ErrMoved)
		}
		return nil
	}
}

// both returns what asks one and other side by side. A nil other adds nothing.
func both(one, other func(context.Context) error) func(context.Context) error {
	if other == nil {
		return one
	}
	return func(ctx context.Context) error {
		var asking sync.WaitGroup
		var err error
		asking.Go(func() { err = one(ctx) })
		otherErr := other(ctx)
		asking.Wait()
		return errors.Join(err, otherErr)
	}
}

// refile stores against the newest revision those accusations of an older one's
// record that came when the newest was deployed already: a glance did not know it
// yet. What was acted on stays where it is.
func (e *Engine) refile(ctx context.Context, r Record, c Case) error {
	if r.Shed.tried() || r.Rollback != nil || r.Hold != nil {
		return nil
	}
	var late []Accusation
	for _, a := range r.Accusations {
		if a.By == "" && a.Resolved.IsZero() && a.Received.After(c.History.Accused().Deployed) {
			late = append(late, a)
		}
	}
	if len(late) == 0 {
		return nil
	}
	// What is claimed counts as acted on, wherever the alert comes next.
	if _, err := e.amend(ctx, r, func(r *Record) bool {
		claimed := r.Shed != nil && !r.Shed.tried()
		if claimed {
			r.Shed = nil
		}
		return claimed
	}); err != nil {
		return err
	}
	c.Records = slices.DeleteFunc(c.Records, func(other Record) bool { return other.UID == r.UID })
	return e.store(ctx, heard{key: r.Key, accs: late, history: c.History, records: c.Records, paused: c.Paused})
}
