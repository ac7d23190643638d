package rollback

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"
)

// ErrBusy says that too many webhooks are being stored at the moment.
var ErrBusy = errors.New("too many webhooks at once: repeat this one")

// Accept stores what the alerts say against the releases they name, and has the
// steps begun. When it returns nil, every accusation that is to be stored is
// stored, and what is refused was counted. An error means that something could
// not be stored: the sender is to repeat the alerts. ErrBusy means that nothing
// was looked at.
//
// Accept does not wait for any step.
func (e *Engine) Accept(ctx context.Context, alerts []Alert) error {
	select {
	case e.webhooks <- struct{}{}:
		defer func() { <-e.webhooks }()
	default:
		return ErrBusy
	}
	now := time.Now()
	accused := make(map[Key][]Accusation)
	for _, alert := range alerts {
		if k, acc, ok := e.admit(ctx, alert, now); ok {
			accused[k] = append(accused[k], acc)
		}
	}
	known, err := e.identify(ctx, accused)
	errs := []error{err}
	var mu sync.Mutex
	each(known, func(h heard) {
		if err := e.store(ctx, h); err != nil {
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, fmt.Errorf("store the alerts about %s: %w", h.key, err))
		}
	})
	return errors.Join(errs...)
}

// heard is what one webhook says about one release, and what Helm knows of it.
type heard struct {
	key     Key
	accs    []Accusation
	history History
	// paused says who switched backout off; "" if nobody did.
	paused string
	// records are those that were stored a moment ago, before the lock.
	records []Record
	// glanced says that all this is what was at hand, as glance returns it.
	glanced bool
}

// identify reads the histories of the accused releases and whether they are
// paused. It counts those that exist for a storm, before anything is decided about
// any of them.
func (e *Engine) identify(ctx context.Context, accused map[Key][]Accusation) ([]heard, error) {
	var (
		mu    sync.Mutex
		known []heard
		errs  []error
	)
	each(slices.Collect(maps.Keys(accused)), func(k Key) {
		seen, err := e.hear(ctx, k, accused[k])
		mu.Lock()
		defer mu.Unlock()
		switch {
		case errors.Is(err, ErrUnknownRelease):
			e.unknown(ctx, k, accused[k], err.Error())
		case err != nil:
			errs = append(errs, fmt.Errorf("store the alerts about %s: %w", k, err))
		default:
			known = append(known, seen)
		}
	})
	return known, errors.Join(errs...)
}

// each calls do for every item, maxStores at a time, and returns when all are
// done.
func each[T any](items []T, do func(T)) {
	var working sync.WaitGroup
	room := make(chan struct{}, maxStores)
	for _, item := range items {
		room <- struct{}{}
		working.Go(func() {
			defer func() { <-room }()
			do(item)
		})
	}
	working.Wait()
}

// store writes the accusations of one release into the record of its accused
// revision.
func (e *Engine) store(ctx context.Context, h heard) error {
	err := e.storeLocked(ctx, h)
	if errors.Is(err, errGlance) {
		var seen heard
		if seen, err = e.look(ctx, h.key, e.ledger.Recent); err == nil {
			seen.accs = h.accs
			e.count(seen)
			err = e.storeLocked(ctx, seen)
		}
	}
	if errors.Is(err, ErrUnknownRelease) {
		e.unknown(ctx, h.key, h.accs, err.Error())
		return nil
	}
	return err
}

// storeLocked is store for one look at the release. It returns errGlance, having
// stored nothing, if that was a glance and is not enough.
func (e *Engine) storeLocked(ctx context.Context, h heard) error {
	mu := e.lock(h.key)
	mu.Lock()
	defer mu.Unlock()
	for attempt := 0; ; attempt++ {
		err := e.storeOnce(ctx, h)
		if !errors.Is(err, ErrConflict) || attempt == maxConflicts {
			return err
		}
		if h.records, err = e.ledger.Records(ctx, h.key); err != nil {
			return err
		}
	}
}

// storeOnce changes in the release's records what the accusations change, and
// writes it. ErrConflict means that somebody else wrote since they were read.
func (e *Engine) storeOnce(ctx context.Context, h heard) error {
	now := h.accs[0].Received
	accused := h.history.Accused()
	record, known := find(h.records, accused.UID)
	if !known {
		record = fresh(h.key, accused, h.records, now)
	}
	changed, here := false, 0
	for _, acc := range h.accs {
		elsewhere, err := e.refresh(ctx, h, acc)
		if err != nil {
			return err
		}
		if !elsewhere {
			here++
			changed = record.Accuse(acc) || changed
		}
	}
	if !known && len(record.Accusations) == 0 && !h.glanced {
		return nil // handled at an older revision, or resolved before it was heard of
	}
	c := Case{
		Key: h.key, Accusations: record.Accusations, History: h.history, Records: h.records, Paused: h.paused,
		Storm: e.storms.besides(h.key, e.policy, now), Policy: e.policy, Now: now,
	}
	decided, err := e.decide(&record, c)
	if err != nil && !h.glanced {
		return err
	}
	if !h.enough(record, decided) {
		return errGlance
	}
	switch {
	case decided:
		record, err = e.storeDecision(ctx, record, c, h)
	case changed:
		record, err = e.ledger.Save(ctx, record)
	}
	if err != nil {
		return err
	}
	if decided {
		e.metrics.alerts.WithLabelValues(string(record.Decision().Verdict)).Add(float64(here))
		e.begin(ctx, record, h.accs[0].Alert)
		return nil
	}
	e.metrics.alerts.WithLabelValues(string(record.repeated())).Add(float64(here))
	return nil
}

// repeated returns the verdict about alerts that led to no new decision.
func (r *Record) repeated() Verdict {
	if r.Claimed() {
		return Handled
	}
	return r.Decision().Verdict
}

// storeDecision stores a record with a new decision, and prepares the shed that may
// follow it meanwhile.
func (e *Engine) storeDecision(ctx context.Context, r Record, c Case, h heard) (Record, error) {
	if r.pointless() {
		r.Closed = c.Now
		return e.ledger.Save(ctx, r)
	}
	u := e.prepare(ctx, r, c, h)
	defer close(u.stored)
	r, err := e.ledger.Save(ctx, r)
	if err == nil {
		u.stored <- r
	}
	return r, err
}

// decide takes the decision about a record whose rollback was not begun, and
// opens the record again if it is a new one. It returns ErrUnknownRelease for a
// release that is not there any more.
func (e *Engine) decide(r *Record, c Case) (bool, error) {
	if r.Rollback != nil {
		return false, nil
	}
	d, grounds := Deliberate(c)
	if d.Verdict == UnknownRelease {
		return false, fmt.Errorf("%s: %w: %s", r.Key, ErrUnknownRelease, d.Reason)
	}
	decided := r.Decide(d)
	if decided {
		r.Closed, r.Grounds = time.Time{}, &grounds
	}
	return decided, nil
}

// begin logs a new decision and has it carried out.
func (e *Engine) begin(ctx context.Context, r Record, alert string) {
	d := r.Decision()
	e.log.InfoContext(ctx, "accusation stored", "namespace", r.Namespace, "release", r.Release,
		"revision", r.Revision, "alert", alert, "verdict", d.Verdict, "target", d.Target, "reason", d.Reason)
	if r.Closed.IsZero() {
		e.Watch(r.Key)
	}
}

// pointless reports whether nothing has to be done or asked about the record, ever: it
// was never acted on, and its alerts are about another revision or were acted on there.
func (r *Record) pointless() bool {
	untouched := r.Shed == nil && r.Rollback == nil && r.Hold == nil && r.Check == nil
	return untouched && (r.Decision().Verdict == Stale || r.Decision().Verdict == Handled)
}

// refresh writes an episode that an older revision's record acts on into that
// record. It reports whether there is one.
func (e *Engine) refresh(ctx context.Context, h heard, acc Accusation) (bool, error) {
	c := Case{History: h.history, Records: h.records, Policy: e.policy, Now: acc.Received}
	number, ok := c.handledBy(acc)
	if !ok {
		return false, nil
	}
	if h.glanced {
		return true, errGlance
	}
	rev, _ := h.history.Named(number)
	older, _ := find(h.records, rev.UID)
	if older.Accuse(acc) {
		if _, err := e.ledger.Save(ctx, older); err != nil {
			return true, err
		}
	}
	e.metrics.alerts.WithLabelValues(string(Handled)).Inc()
	return true, nil
}

// fresh returns a new record for the accused revision. If a record of another
// life stands in its place, the new one replaces it.
func fresh(k Key, accused Revision, records []Record, now time.Time) Record {
	r := Record{
		Key: k, Revision: accused.Number, UID: accused.UID, Content: accused.Content,
		Opened: now,
	}
	for _, other := range records {
		if other.Revision == accused.Number {
			r.Version = other.Version
		}
	}
	return r
}
