package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// errCacheInsufficient says that the cached state does not lead to a shed, so that the
// stored one has to be read.
var errCacheInsufficient = errors.New("the cached state does not lead to a shed")

// store writes the signals of one release into the record of its newest revision.
func (in *intake) store(ctx context.Context, b batch) error {
	err := in.storeLocked(ctx, b)
	if errors.Is(err, errCacheInsufficient) {
		var fresh batch
		if fresh, err = in.read(ctx, b.key, rollback.Recent); err == nil {
			fresh.signals = b.signals
			in.countForStorm(fresh)
			err = in.storeLocked(ctx, fresh)
		}
	}
	if errors.Is(err, rollback.ErrUnknownRelease) {
		in.refuseUnknown(ctx, b.key, b.signals, err.Error())
		return nil
	}
	return err
}

// storeLocked is store for one state of the release. It returns
// errCacheInsufficient, having stored nothing, if that state was cached and does not
// suffice.
func (in *intake) storeLocked(ctx context.Context, b batch) error {
	mu := in.lock(b.key)
	mu.Lock()
	defer mu.Unlock()
	for attempt := 0; ; attempt++ {
		err := in.storeOnce(ctx, b)
		if !errors.Is(err, rollback.ErrConflict) || attempt == maxConflicts {
			return err
		}
		if b.records, err = in.ledger.Records(ctx, b.key, rollback.Stored); err != nil {
			return err
		}
	}
}

// storeOnce changes the release's records by the signals and writes them. ErrConflict
// means that another client wrote since they were read.
func (in *intake) storeOnce(ctx context.Context, b batch) error {
	b = b.atSuspect()
	newest := b.history.Newest()
	record, known := rollback.FindRecord(b.records, newest)
	if !known {
		record = rollback.NewRecord(b.key, newest, b.records, b.signals[0].Received)
	}
	record.Adopt(newest, b.signals[0].Received)
	changed, here, err := in.addSignals(ctx, &record, b)
	if err != nil {
		return err
	}
	if !known && len(record.Signals) == 0 && !b.cached {
		return nil // handled at an older revision, or resolved before it was received
	}
	c := in.caseOf(b, b.signals[0].Received)
	c.Signals = record.Signals
	decided, err := in.decide(ctx, &record, c)
	if err != nil && !b.cached {
		return err
	}
	if b.cached && !(decided && record.Decision().Shed && !record.Shed.Tried()) {
		return errCacheInsufficient
	}
	switch {
	case decided:
		record, err = in.storeDecision(ctx, record, c, b)
	case changed:
		record, err = in.ledger.Save(ctx, record)
	}
	if err != nil {
		return err
	}
	in.keepStorm(record)
	verdict := record.RepeatVerdict()
	if decided {
		verdict = record.Decision().Verdict
		in.logDecision(ctx, record, b.signals[0].Alert)
	}
	in.metrics.alerts.WithLabelValues(string(verdict)).Add(float64(here))
	return nil
}

// addSignals adds the batch's signals to the record, apart from those that an older
// revision's record acts on. It reports whether the record has to be written, and how
// many signals are its own.
func (in *intake) addSignals(ctx context.Context, r *rollback.Record, b batch) (changed bool, here int, err error) {
	for _, s := range b.signals {
		elsewhere, err := in.refreshOlder(ctx, b, s)
		if err != nil {
			return changed, here, err
		}
		if !elsewhere {
			here++
			changed = r.AddSignal(s) || changed
		}
	}
	return changed, here, nil
}

// refreshOlder writes an episode that an older revision's record acts on into that
// record. It reports whether there is one.
func (in *intake) refreshOlder(ctx context.Context, b batch, s rollback.Signal) (bool, error) {
	c := rollback.Case{History: b.history, Records: b.records, Policy: in.policy, Now: s.Received}
	number := unlessItPanics(func() int {
		n, _ := c.HandledBy(s)
		return n
	})
	if number == 0 {
		return false, nil
	}
	if b.cached {
		return true, errCacheInsufficient
	}
	revision, _ := b.history.Named(number)
	older, _ := rollback.FindRecord(b.records, revision)
	if older.AddSignal(s) {
		if _, err := in.ledger.Save(ctx, older); err != nil {
			return true, err
		}
	}
	in.metrics.alerts.WithLabelValues(string(rollback.Handled)).Inc()
	return true, nil
}

// storeDecision stores a record with a new decision, and has the fast path gather
// meanwhile what the shed that may follow needs.
func (in *intake) storeDecision(ctx context.Context, r rollback.Record, c rollback.Case, b batch) (rollback.Record, error) {
	if r.SetAside() {
		return in.ledger.Save(ctx, r)
	}
	if r.NothingToDo() {
		r.Closed = c.Now
		return in.ledger.Save(ctx, r)
	}
	p := in.fast.prepare(ctx, r, c, b.cached)
	defer close(p.stored)
	r, err := in.ledger.Save(ctx, r)
	if err == nil {
		p.stored <- r
	}
	return r, err
}

// decide takes the decision about a record whose rollback was not begun, and opens the
// record again if it is a new one. It returns ErrUnknownRelease for a release that no
// longer exists. A record over which the decision panics is set aside.
func (e *executor) decide(ctx context.Context, r *rollback.Record, c rollback.Case) (decided bool, err error) {
	if r.Rollback != nil || r.SetAside() || c.LeftToLeader(r) {
		return false, nil
	}
	defer func() {
		switch cause := recover().(type) {
		case nil:
		case decisionPanic:
			e.logPanic(ctx, *r, cause.Panic)
			r.NoteDecisionPanic(cause.Cause, c.Now)
			decided, err = true, nil
		default:
			panic(cause)
		}
	}()
	d, trace := safely(c)
	if d.Verdict == rollback.UnknownRelease {
		return false, fmt.Errorf("%s: %w: %s", r.Key, rollback.ErrUnknownRelease, d.Reason)
	}
	if decided = r.Decide(d); decided {
		r.Closed, r.Trace = time.Time{}, &trace
	}
	return decided, nil
}

// logDecision logs a new decision and has it carried out.
func (in *intake) logDecision(ctx context.Context, r rollback.Record, alert string) {
	d := r.Decision()
	in.log.InfoContext(ctx, "signal stored", "namespace", r.Namespace, "release", r.Release,
		"revision", r.Revision, "alert", alert, "verdict", d.Verdict, "target", d.Target, "reason", d.Reason)
	if r.Closed.IsZero() {
		in.enqueue(r.Key)
	}
}

// moveSignals stores with the newest revision those signals of an older one's record
// that were received when the newest was deployed already: the cache did not have it
// yet. Signals that were acted on stay where they are, unless the suspect is an older
// revision than the record's.
func (in *intake) moveSignals(ctx context.Context, r rollback.Record, c rollback.Case) error {
	// A failed upgrade that changed nothing leaves the revision before it as the suspect.
	live := c.History.Newest().Number < r.Revision
	if r.Shed.Tried() && !live || r.Rollback != nil || r.Hold != nil {
		return nil
	}
	var late []rollback.Signal
	for _, s := range r.Signals {
		if s.Operator == "" && s.Resolved.IsZero() && s.Received.After(c.History.Newest().Deployed) {
			late = append(late, s)
		}
	}
	if len(late) == 0 {
		return nil
	}
	// A claim counts as acted on, whichever record the alert comes to next.
	if _, err := in.update(ctx, r, func(r *rollback.Record) bool {
		claimed := r.Shed != nil && !r.Shed.Tried()
		if claimed {
			r.Shed = nil
		}
		return claimed
	}); err != nil {
		return err
	}
	c.Records = slices.DeleteFunc(c.Records, func(other rollback.Record) bool { return other.UID == r.UID })
	return in.store(ctx, batch{key: r.Key, signals: late, history: c.History, records: c.Records, paused: c.Paused})
}
