package rollback

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Hand does by a person's order, and under the person's own rights, what the
// engine does by an alert's. It needs no running engine, and disturbs none.
type Hand struct {
	Releases Releases
	Traffic  Traffic
	Ledger   Ledger
	// Who is the person, as the API server knows them.
	Who string
}

// orderFingerprint marks an accusation as a person's.
const orderFingerprint = "by-hand"

// Hold takes the canary out of the traffic and holds it at zero until a revision
// with other content arrives or somebody lifts the hold. It returns the record, and
// an error that changes nothing if there is no canary route, if nothing else could
// carry the traffic, or if backout is rolling the release back at the moment.
func (h Hand) Hold(ctx context.Context, k Key, why string) (Record, error) {
	history, err := h.Releases.History(ctx, k)
	if err != nil {
		return Record{}, err
	}
	accused := history.Accused()
	manifest, err := h.holdable(ctx, k, accused)
	if err != nil {
		return Record{}, err
	}
	now := time.Now().UTC()
	if _, err := h.idle(ctx, k, "hold"); err != nil {
		return Record{}, err
	}
	decision := Decision{
		Verdict: Act, Shed: true, Hold: true, At: now, Do: Case{Key: k}.lift(),
		Reason: h.Who + " asks for the canary to be taken out of the traffic",
	}
	r, err := h.change(ctx, k, accused, func(r *Record) error {
		r.Accuse(h.order(now, why))
		r.Closed, r.Hold, r.Shed = time.Time{}, nil, &Step{Started: now}
		r.Decide(decision)
		return nil
	})
	if err != nil {
		return r, err
	}
	weights, err := h.Traffic.Shed(ctx, k, manifest, nil)
	if err != nil {
		return r, fmt.Errorf("take the canary of %s out of the traffic: %w", k, err)
	}
	return h.change(ctx, k, accused, func(r *Record) error {
		if !r.Shed.Finished() {
			r.Shed.finish(nil, 1)
			r.Weights = weights
		}
		if r.Hold == nil {
			r.Hold = &Hold{Since: now}
		}
		// A backout that is paused or only observes has closed it meanwhile.
		r.Closed = time.Time{}
		r.Decide(decision)
		return nil
	})
}

// idle returns the release's records, or an error if backout is rolling it back.
func (h Hand) idle(ctx context.Context, k Key, what string) ([]Record, error) {
	records, err := h.Ledger.Records(ctx, k)
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		if r.Rollback != nil && !r.Rollback.Finished() && r.Closed.IsZero() {
			return nil, fmt.Errorf("%s %s: backout is rolling it back at the moment; look with: kubectl get configmap %s -n %s -o yaml", what, k, r.name(), k.Namespace)
		}
	}
	return records, nil
}

// holdable returns the revision's manifest, or an error that says why its canary
// cannot be held.
func (h Hand) holdable(ctx context.Context, k Key, accused Revision) (Manifest, error) {
	manifest, err := h.Releases.Manifest(ctx, k, accused.Number)
	if err != nil {
		return nil, err
	}
	routing, err := h.Traffic.Look(ctx, k, manifest)
	switch {
	case err != nil:
		return nil, err
	case len(routing.Weights) == 0:
		return nil, fmt.Errorf("hold %s: %s; nothing to take out of the traffic", k, noRoute)
	case routing.Owner.Weights:
		return nil, fmt.Errorf("hold %s: %s (%s) sets the weight itself; run: %s", k, routing.Owner.Tool, routing.Owner.Object, routing.Owner.Do)
	case routing.NoStable != "" && routing.Open():
		return nil, fmt.Errorf("hold %s: %s; without the canary nobody would answer", k, routing.NoStable)
	}
	return manifest, nil
}

func (h Hand) order(now time.Time, why string) Accusation {
	return Accusation{
		Alert: "hold", By: clip(h.Who, maxName), Level: LevelShed, Fingerprint: orderFingerprint,
		Summary: clip(why, maxSummary), StartsAt: now, Received: now, LastSeen: now,
	}
}

// Release lifts the hold of the release, if there is one, and gives the canary the
// weight that its newest revision declares. It returns an error that changes
// nothing if that revision's pods are not ready, or if backout is rolling the
// release back at the moment.
func (h Hand) Release(ctx context.Context, k Key) ([]Weight, error) {
	history, err := h.Releases.History(ctx, k)
	if err != nil {
		return nil, err
	}
	newest := history.Accused()
	ready, waiting, err := h.Releases.Ready(ctx, k, newest.Number)
	if err != nil {
		return nil, err
	}
	if !ready {
		return nil, fmt.Errorf("release %s: the pods of revision %d are not ready: %s; the weight stays zero until they are", k, newest.Number, waiting)
	}
	manifest, err := h.Releases.Manifest(ctx, k, newest.Number)
	if err != nil {
		return nil, err
	}
	records, err := h.idle(ctx, k, "release")
	if err != nil {
		return nil, err
	}
	now := time.Now().UTC()
	for _, r := range records {
		waiting := r.Closed.IsZero() && r.Claimed() && r.Rollback == nil
		if !r.Hold.Lasts() && !waiting {
			continue
		}
		if _, err := h.change(ctx, k, Revision{Number: r.Revision, UID: r.UID}, func(r *Record) error {
			if r.Hold == nil {
				r.Hold = &Hold{Since: now}
			}
			r.Hold.lift(now, "released by "+h.Who)
			r.Closed = now
			return nil
		}); err != nil {
			return nil, err
		}
	}
	return h.Traffic.Raise(ctx, k, manifest, nil)
}

// change writes the record about the revision, and begins one if there is none.
func (h Hand) change(ctx context.Context, k Key, about Revision, change func(*Record) error) (Record, error) {
	for attempt := 0; ; attempt++ {
		records, err := h.Ledger.Records(ctx, k)
		if err != nil {
			return Record{}, err
		}
		r, known := find(records, about.UID)
		if !known {
			r = fresh(k, about, records, time.Now().UTC())
		}
		if err := change(&r); err != nil {
			return r, err
		}
		saved, err := h.Ledger.Save(ctx, r)
		if !errors.Is(err, ErrConflict) || attempt == maxConflicts {
			return saved, err
		}
	}
}

// name is that of the ConfigMap, for people.
func (r *Record) name() string { return fmt.Sprintf("backout.v1.%s.v%d", r.Release, r.Revision) }
