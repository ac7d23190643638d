package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// knowsCanary returns an error if a record says what the revision's canary is, and the command
// finds none: it looks for another label, and would leave the weight as it is.
func knowsCanary(revision rollback.Revision, records []rollback.Record) error {
	r, ok := rollback.FindRecord(records, revision)
	if !ok || r.Canary == "" || revision.Canary != "" {
		return nil
	}
	return fmt.Errorf("backout takes for the canary of revision %d: %s; this command finds none: set --track-label, or BACKOUT_TRACK_LABEL here, as the running backout has it",
		revision.Number, r.Canary)
}

// holdsTarget finds out whether the rollback holds the canary of its target at zero, because that
// runs the suspect's pods: as backout's own rollback does.
func (r *manualRun) holdsTarget(h rollback.History) {
	target, ok := h.Named(cmp.Or(r.made, r.target))
	if r.promoted = ok && target.PromotedBy(r.suspect); r.promoted {
		r.Print(fmt.Sprintf("the canary of revision %d runs the pods of revision %d: its weight stays zero", r.target, r.suspect.Number))
	}
}

// holdFor returns the function that keeps the canary's weight at zero in what Helm writes.
func (r *manualRun) holdFor(ctx context.Context) (func(rollback.Object), error) {
	manifest, err := r.Releases.Manifest(ctx, r.Key, r.target)
	if err != nil {
		return nil, err
	}
	if !r.promoted {
		return r.Traffic.Hold(ctx, r.Key, manifest)
	}
	routing, err := r.Traffic.Observe(ctx, r.Key, manifest, rollback.Stored)
	if err != nil {
		return nil, err
	}
	if routing.Open() && routing.NoStable != "" {
		return nil, fmt.Errorf("the canary of revision %d is what serves now (%s), and cannot be held at zero; name another revision with --to", r.target, routing.NoStable)
	}
	hold, err := r.Traffic.HoldTarget(ctx, r.Key, manifest)
	if err != nil {
		return nil, fmt.Errorf("keep the canary of revision %d at zero: %w; name another revision with --to", r.target, err)
	}
	return hold, nil
}

// zeroAll sets the weights of the canary of the suspect to zero, and those of the target's if that
// is to stay there.
func (r *manualRun) zeroAll(ctx context.Context, p rollback.Precondition) ([]rollback.Weight, error) {
	revisions := []int{r.suspect.Number}
	if r.promoted {
		revisions = append(revisions, r.target)
	}
	var all []rollback.Weight
	for _, revision := range revisions {
		manifest, err := r.Releases.Manifest(ctx, r.Key, revision)
		if err != nil {
			return all, err
		}
		routing, err := r.Traffic.Observe(ctx, r.Key, manifest, rollback.Stored)
		if err != nil {
			return all, err
		}
		weights, err := r.Traffic.Shed(ctx, r.Key, manifest, routing.Observation, p)
		for _, w := range weights {
			known := func(o rollback.Weight) bool { return o.Kind == w.Kind && o.Name == w.Name }
			if !slices.ContainsFunc(all, known) {
				all = append(all, w)
			}
		}
		if err != nil {
			return all, err
		}
	}
	return all, nil
}

// podsReady asks for the pods of the new revision; for those of the stable track alone if its
// canary stays at zero.
func (r *manualRun) podsReady(ctx context.Context) (bool, string, error) {
	if r.promoted {
		return r.Releases.ReadyStable(ctx, r.Key, r.made)
	}
	return r.Releases.Ready(ctx, r.Key, r.made)
}

// giveWeight gives the canary the weight that the new revision declares; one that has to stay at
// zero is held there, in the record of that revision.
func (r *manualRun) giveWeight(ctx context.Context, made rollback.Revision) ([]rollback.Weight, error) {
	manifest, err := r.Releases.Manifest(ctx, r.Key, r.made)
	if err != nil {
		return nil, err
	}
	if !r.promoted {
		weights, err := r.Traffic.Restore(ctx, r.Key, manifest, allOf(r.ifNewest(made), r.ifOpen(made)))
		if err != nil {
			err = fmt.Errorf("restore the weight: %w", err)
		}
		return weights, err
	}
	weights, err := r.Traffic.Shed(ctx, r.Key, manifest, nil, r.ifNewest(made))
	if err != nil && !errors.Is(err, rollback.ErrRevisionChanged) {
		return nil, fmt.Errorf("hold the canary of revision %d at zero: %w", r.made, err)
	}
	now := time.Now().UTC()
	why := fmt.Sprintf("it runs the pods of revision %d", r.suspect.Number)
	held, err := r.update(ctx, r.Key, made, func(own *rollback.Record) {
		if own.Hold != nil {
			return // an alert or an operator holds it, or an operator has ended that
		}
		own.AddSignal(r.signal(now, why))
		own.Shed, own.Weights, own.Hold, own.Closed = r.ordered(now), weights, &rollback.Hold{Since: now}, time.Time{}
		own.Shed.Done = now
		own.Decide(rollback.OrderedHold(r.Key, r.Operator, now))
	})
	if err == nil && held.Hold.Active() {
		r.Print(fmt.Sprintf("the canary of revision %d is held at zero: %s; to end the hold: %s", r.made, why, held.UnholdCommand().WithTrack(made.TrackLabel)))
	}
	return nil, err
}
