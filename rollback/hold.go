package rollback

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// holdInterval is how often a held release is looked at.
const holdInterval = 5 * time.Second

// end ends a hold that lasts; a nil one never began.
func (h *Hold) end(now time.Time, why string) {
	if h.Lasts() {
		h.Ended, h.Why = now, why
	}
}

// lift ends a hold that lasts by a person's hand.
func (h *Hold) lift(now time.Time, why string) {
	if h.Lasts() {
		h.end(now, why)
		h.Lifted = true
	}
}

// beginHold notes that zero stays.
func (e *Engine) beginHold(ctx context.Context, r Record) (progress, error) {
	stored, err := e.amend(ctx, r, func(r *Record) bool {
		if r.Hold.Lasts() || r.Rollback != nil || !r.Shed.Succeeded() {
			return false
		}
		r.Hold = &Hold{Since: time.Now().UTC()}
		return true
	})
	if err == nil {
		e.log.WarnContext(ctx, "canary held at zero", "namespace", r.Namespace, "release", r.Release,
			"revision", r.Revision, "verdict", r.Decision().Verdict, "reason", r.Decision().Reason)
	}
	return progress{record: stored}, err
}

// watchHold keeps a hold until a revision with other content has come or a person
// has lifted it. A person's change is reported, never fought.
func (e *Engine) watchHold(ctx context.Context, r Record) (progress, error) {
	history, err := e.releases.History(ctx, r.Key)
	if errors.Is(err, ErrUnknownRelease) {
		return e.endHold(ctx, r, "the release is gone")
	}
	if err != nil {
		return progress{record: r}, err
	}
	newest := history.Accused()
	switch {
	case newest.Status == StatusUninstalled:
		return e.endHold(ctx, r, "the release is uninstalled")
	case newest.UID == r.UID && e.inFlight(newest):
		// Helm itself may write the weight that its chart declares.
		e.keepZero(ctx, r, r.revision())
		return progress{record: r, again: lookInterval}, nil
	case newest.UID == r.UID:
		return e.watchWeight(ctx, r)
	case newest.Status.Pending(), newest.Status == StatusFailed:
		// Who knows what runs. The weight stays as whoever does this leaves it.
		return progress{record: r, again: holdInterval}, nil
	case newest.Content != "" && newest.Content == r.Content:
		return e.carryHold(ctx, r, newest)
	default:
		return e.release(ctx, r, newest)
	}
}

// watchWeight ends the hold if somebody gave the canary traffic.
func (e *Engine) watchWeight(ctx context.Context, r Record) (progress, error) {
	manifest, err := e.releases.Manifest(ctx, r.Key, r.Revision)
	if err != nil {
		return progress{record: r}, err
	}
	routing, err := e.traffic.Look(ctx, r.Key, manifest)
	if err != nil {
		return progress{record: r}, err
	}
	if i := slices.IndexFunc(routing.Weights, func(w Weight) bool { return w.To != "0" }); i >= 0 {
		w := routing.Weights[i]
		return e.liftHold(ctx, r, fmt.Sprintf("somebody gave the canary a weight of %s on %s/%s", w.To, w.Kind, w.Name))
	}
	return progress{record: r, again: holdInterval}, nil
}

// carryHold goes on holding at a newer revision with the same content, such as the
// next step of a ramp.
func (e *Engine) carryHold(ctx context.Context, r Record, newest Revision) (progress, error) {
	records, err := e.ledger.Records(ctx, r.Key)
	if err != nil {
		return progress{record: r}, err
	}
	next, known := find(records, newest.UID)
	if !known || !next.Claimed() && next.Hold == nil {
		now := time.Now().UTC()
		if !known {
			next = fresh(r.Key, newest, records, now)
		}
		d := r.Decision()
		d.At, d.Hold, d.Shed, d.Waits, d.Rollback = now, true, true, false, false
		d.Reason = fmt.Sprintf("revision %d has the content of revision %d, which is held: %s", newest.Number, r.Revision, d.Reason)
		next.Decide(d)
		next.Closed = time.Time{}
		if _, err := e.ledger.Save(ctx, next); err != nil {
			return progress{record: r}, err
		}
		e.Watch(r.Key)
	}
	return e.endHold(ctx, r, fmt.Sprintf("goes on at revision %d, which has the same content", newest.Number))
}

// release ends a hold for a revision with other content and gives its canary the
// weight that it declares, once its pods are ready: Helm leaves a zero where it
// stands on routes that are no part of Kubernetes itself.
func (e *Engine) release(ctx context.Context, r Record, newest Revision) (progress, error) {
	ready, _, err := e.releases.Ready(ctx, r.Key, newest.Number)
	if err != nil || !ready {
		return progress{record: r, again: holdInterval}, err
	}
	why := fmt.Sprintf("revision %d has other content", newest.Number)
	switch err := e.unaccused(ctx, r.Key, newest.UID); {
	case errors.Is(err, errAccused):
		return e.endHold(ctx, r, why+"; it is accused as well")
	case err != nil:
		return progress{record: r}, err
	}
	manifest, err := e.releases.Manifest(ctx, r.Key, newest.Number)
	if err != nil {
		return progress{record: r}, err
	}
	still := e.still(r.Key, newest)
	weights, err := e.traffic.Raise(ctx, r.Key, manifest, func(ctx context.Context) error {
		if err := still(ctx); err != nil {
			return err
		}
		return e.unaccused(ctx, r.Key, newest.UID)
	})
	if errors.Is(err, ErrMoved) || errors.Is(err, errAccused) {
		return progress{record: r, again: lookInterval}, nil
	}
	if err != nil {
		return progress{record: r}, err
	}
	if text := describe(weights); text != "" {
		why += "; " + text
	}
	return e.endHold(ctx, r, why)
}

// errAccused says that a revision has a record of its own that takes its canary
// out of the traffic.
var errAccused = errors.New("the revision is accused as well")

// unaccused returns errAccused if the revision's canary was, or is about to be,
// taken out of the traffic for its own sake.
func (e *Engine) unaccused(ctx context.Context, k Key, uid string) error {
	records, err := e.ledger.Records(ctx, k)
	if err != nil {
		return err
	}
	if own, ok := find(records, uid); ok && (own.Claimed() || own.Hold.Lasts()) {
		return errAccused
	}
	return nil
}

func (e *Engine) endHold(ctx context.Context, r Record, why string) (progress, error) {
	return e.over(ctx, r, why, (*Hold).end)
}

func (e *Engine) liftHold(ctx context.Context, r Record, why string) (progress, error) {
	return e.over(ctx, r, why, (*Hold).lift)
}

func (e *Engine) over(ctx context.Context, r Record, why string, end func(*Hold, time.Time, string)) (progress, error) {
	now := time.Now().UTC()
	stored, err := e.amend(ctx, r, func(r *Record) bool {
		end(r.Hold, now, why)
		r.Closed = now
		return true
	})
	if err != nil {
		return progress{record: stored}, err
	}
	e.log.InfoContext(ctx, "hold over", "namespace", r.Namespace, "release", r.Release, "revision", r.Revision, "reason", why)
	e.prune(ctx, r.Key)
	return progress{record: stored}, nil
}
