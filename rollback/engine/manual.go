package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// Manual does on the order of an operator, and with the operator's own Kubernetes
// rights, what the engine does for an alert. It needs no running engine, and does not
// interfere with one.
type Manual struct {
	Releases rollback.Releases
	Traffic  rollback.Traffic
	Ledger   rollback.Ledger
	// Operator is the caller's name, as the API server knows it.
	Operator string
}

// manualFingerprint marks a signal as an operator's order.
const manualFingerprint = "manual"

// Hold takes the canary out of rotation and holds it at zero until a revision with
// different content arrives or an operator lifts the hold. It returns the record. Its
// error says that nothing was changed because there is no canary route, because nothing
// else could carry the traffic, or because backout or an operator is rolling the release back.
func (m Manual) Hold(ctx context.Context, k rollback.Key, why string) (rollback.Record, error) {
	history, err := m.notClaimed(ctx, k, "hold")
	if err != nil {
		return rollback.Record{}, err
	}
	newest := history.Newest()
	manifest, seen, err := m.holdable(ctx, k, newest)
	if err != nil {
		return rollback.Record{}, err
	}
	now := time.Now().UTC()
	records, err := m.notRollingBack(ctx, k, "hold")
	if err := knowsCanary(newest, records); err != nil {
		return rollback.Record{}, fmt.Errorf("hold %s: %w", k, err)
	}
	if r, ok := unshed(records); ok && errors.Is(err, errRollingBack) {
		return m.shedFor(ctx, r, manifest)
	}
	if err != nil {
		return rollback.Record{}, err
	}
	decision := rollback.OrderedHold(k, m.Operator, now)
	r, err := m.update(ctx, k, newest, func(r *rollback.Record) {
		r.AddSignal(m.signal(now, why))
		r.Closed, r.Hold, r.Shed, r.Weights = time.Time{}, nil, m.ordered(now), nil
		r.Decide(decision)
	})
	if err != nil {
		return r, err
	}
	weights, err := m.Traffic.Shed(ctx, k, manifest, seen.Observation, nil)
	if err != nil {
		return r, fmt.Errorf("take the canary of %s out of rotation: %w", k, err)
	}
	return m.update(ctx, k, newest, func(r *rollback.Record) {
		if !r.Shed.Finished() {
			// A leader that saw the order before its effect has removed the step.
			r.Shed = m.ordered(now)
			r.Shed.Done, r.Weights = time.Now().UTC(), weights
		}
		noteMissed(r, weights, seen.Missed)
		if r.Hold == nil {
			r.Hold = &rollback.Hold{Since: now}
		}
		// A backout that is paused or only observes has closed it meanwhile.
		r.Closed = time.Time{}
		r.Decide(decision)
	})
}

// unshed returns the record whose rollback is in progress although the shed was given up.
func unshed(records []rollback.Record) (rollback.Record, bool) {
	i := slices.IndexFunc(records, func(r rollback.Record) bool {
		return r.Closed.IsZero() && r.Rollback != nil && !r.Rollback.Finished() && r.Shed != nil && r.Shed.Failed
	})
	if i < 0 {
		return rollback.Record{}, false
	}
	return records[i], true
}

// shedFor does the shed that backout could not do before the rollback that it is doing, which
// ends it as it ends any other.
func (m Manual) shedFor(ctx context.Context, r rollback.Record, manifest rollback.Manifest) (rollback.Record, error) {
	now := time.Now().UTC()
	weights, err := m.Traffic.Shed(ctx, r.Key, manifest, nil, nil)
	if err != nil {
		return r, fmt.Errorf("take the canary of %s out of rotation: %w", r.Key, err)
	}
	return m.update(ctx, r.Key, r.Suspect(), func(r *rollback.Record) {
		r.Shed = m.ordered(now)
		r.Shed.Done, r.Weights = time.Now().UTC(), weights
	})
}

// ordered returns a step of the operator.
func (m Manual) ordered(now time.Time) *rollback.Step {
	return &rollback.Step{Operator: rollback.Clip(m.Operator, rollback.MaxName), Started: now}
}

// errRollingBack says that an order has to wait for a rollback.
var errRollingBack = errors.New("backout is rolling it back at the moment")

// notRollingBack returns the release's records, with errRollingBack if backout is rolling it
// back: it takes no more steps for a record that is set aside.
func (m Manual) notRollingBack(ctx context.Context, k rollback.Key, order string) ([]rollback.Record, error) {
	records, err := m.Ledger.Records(ctx, k, rollback.Stored)
	if err != nil {
		return nil, err
	}
	for _, r := range records {
		if r.Rollback != nil && !r.Rollback.Finished() && r.Closed.IsZero() && !r.SetAside() {
			return records, fmt.Errorf("%s %s: %w; look with: %s", order, k, errRollingBack, r.ShowCommand())
		}
	}
	return records, nil
}

// holdable returns the revision's manifest and its live routes, or an error that says why its
// canary cannot be held.
func (m Manual) holdable(ctx context.Context, k rollback.Key, newest rollback.Revision) (rollback.Manifest, rollback.Routing, error) {
	manifest, err := m.Releases.Manifest(ctx, k, newest.Number)
	if err != nil {
		return nil, rollback.Routing{}, err
	}
	routing, err := m.Traffic.Observe(ctx, k, manifest, rollback.Stored)
	switch {
	case routing.Owner.SetsWeights:
		return nil, rollback.Routing{}, fmt.Errorf("hold %s: %s (%s) sets the weight itself; run: %s", k, routing.Owner.Tool, routing.Owner.Object, routing.Owner.Command)
	case err != nil:
		return nil, rollback.Routing{}, err
	case len(routing.Weights) == 0 && len(routing.Missed) > 0:
		return nil, rollback.Routing{}, fmt.Errorf("hold %s: %s", k, strings.Join(routing.Missed, "; "))
	case len(routing.Weights) == 0:
		return nil, rollback.Routing{}, fmt.Errorf("hold %s: %s; there is nothing to take out of rotation", k, noRoute)
	case routing.NoStable != "" && routing.Open():
		return nil, rollback.Routing{}, fmt.Errorf("hold %s: %s; without the canary nothing would serve requests", k, routing.NoStable)
	}
	return manifest, routing, nil
}

func (m Manual) signal(now time.Time, why string) rollback.Signal {
	return rollback.Signal{
		Alert: "hold", Operator: rollback.Clip(m.Operator, rollback.MaxName), Level: rollback.LevelShed, Fingerprint: manualFingerprint,
		Summary: rollback.Clip(why, rollback.MaxSummary), StartsAt: now, Received: now, LastSeen: now,
	}
}

// Unhold lifts the hold of the release, if there is one, and gives the canary the weight
// that its newest revision declares. Its error says that nothing was changed because that
// revision's pods are not ready, or because backout or an operator is rolling the release back.
func (m Manual) Unhold(ctx context.Context, k rollback.Key) ([]rollback.Weight, error) {
	history, err := m.notClaimed(ctx, k, "unhold")
	if err != nil {
		return nil, err
	}
	newest := history.Newest()
	ready, missing, err := m.Releases.Ready(ctx, k, newest.Number)
	if err != nil {
		return nil, err
	}
	if !ready {
		return nil, fmt.Errorf("unhold %s: the pods of revision %d are not ready: %s; the weight stays zero until they are", k, newest.Number, missing)
	}
	manifest, err := m.Releases.Manifest(ctx, k, newest.Number)
	if err != nil {
		return nil, err
	}
	records, err := m.notRollingBack(ctx, k, "unhold")
	if err != nil {
		return nil, err
	}
	if err := knowsCanary(newest, records); err != nil {
		return nil, fmt.Errorf("unhold %s: %w", k, err)
	}
	if err := m.liftHolds(ctx, k, records); err != nil {
		return nil, err
	}
	return m.Traffic.Restore(ctx, k, manifest, nil)
}

// liftHolds closes the records that hold the canary at zero, or are about to, and those of an
// operator's rollback that does not go on.
func (m Manual) liftHolds(ctx context.Context, k rollback.Key, records []rollback.Record) error {
	now := time.Now().UTC()
	for _, r := range records {
		waiting := r.Closed.IsZero() && (r.Claimed() && r.Rollback == nil || r.Manual.Active())
		if !r.Hold.Active() && !waiting {
			continue
		}
		if _, err := m.update(ctx, k, r.Suspect(), func(r *rollback.Record) {
			if r.Manual.Active() {
				ended := *r.Manual
				ended.Ended, ended.Note = now, "ended by unhold, by "+rollback.Clip(m.Operator, rollback.MaxName)
				r.Manual = &ended
			}
			if r.Hold == nil {
				r.Hold = &rollback.Hold{Since: now}
			}
			r.Hold.Lift(now, "lifted by "+m.Operator)
			r.Closed = now
		}); err != nil {
			return err
		}
	}
	return nil
}

// update changes the record about the revision, and creates it where it does not exist.
func (m Manual) update(ctx context.Context, k rollback.Key, about rollback.Revision, change func(*rollback.Record)) (rollback.Record, error) {
	return saveChanged(ctx, m.Ledger, func() (rollback.Record, bool, error) {
		records, err := m.Ledger.Records(ctx, k, rollback.Stored)
		if err != nil {
			return rollback.Record{}, false, err
		}
		r, known := rollback.FindRecord(records, about)
		if !known {
			r = rollback.NewRecord(k, about, records, time.Now().UTC())
		}
		change(&r)
		return r, true, nil
	})
}
