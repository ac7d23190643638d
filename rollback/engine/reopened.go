package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// watchWeight keeps the weight of a held canary at zero, on the routes of the newest revision.
// An operator who gives the canary a weight ends the hold; any other client does not.
func (e *executor) watchWeight(ctx context.Context, r rollback.Record, newest rollback.Revision) (progress, error) {
	again := holdInterval
	if newest.Status.Pending() {
		again = recheckInterval // Helm may write the weight at any moment.
	}
	seen, unchanged := e.watches.unchanged(ctx, e, r)
	if unchanged && !r.Unsigned {
		return progress{record: r, again: again}, nil
	}
	number := newest.Number
	if newest.Unreadable != "" {
		number = r.Revision
	}
	manifest, err := e.releases.Manifest(ctx, r.Key, number)
	if err != nil {
		return progress{record: r}, err
	}
	routing, err := e.traffic.Observe(ctx, r.Key, manifest, rollback.Stored)
	if err != nil {
		return progress{record: r}, err
	}
	if i := slices.IndexFunc(routing.Weights, func(w rollback.Weight) bool { return w.To != "0" }); i >= 0 {
		return e.reopened(ctx, r, opened{newest: newest, manifest: manifest, weight: routing.Weights[i], writer: routing.Writer(i), owner: routing.Owner})
	}
	if r.Unsigned && newest.UID == r.UID {
		return e.adoptHold(ctx, r, manifest)
	}
	if gone := goneRoutes(r, routing); newest.UID == r.UID && len(gone) > 0 {
		return progress{record: r}, fmt.Errorf("another client has deleted %s, which was held at zero: check which route leads to the canary now", strings.Join(gone, ", "))
	}
	if r.Hold.Problem != "" {
		r, err = e.update(ctx, r, func(r *rollback.Record) bool {
			r.Hold.Problem = ""
			return true
		})
	}
	e.watches.checked(r, seen)
	return progress{record: r, again: again}, err
}

// goneRoutes returns the routing objects that the record holds and that no longer exist.
func goneRoutes(r rollback.Record, live rollback.Routing) []string {
	object := func(w rollback.Weight) string {
		name, _, _ := strings.Cut(w.Name, " ") // the rest is a part of the object
		return w.Kind + "/" + name
	}
	var gone []string
	for _, held := range r.Weights {
		exists := slices.ContainsFunc(live.Weights, func(w rollback.Weight) bool { return object(w) == object(held) })
		if name := object(held); !exists && held.Kind != rollback.ScalerKind && !slices.Contains(gone, name) {
			gone = append(gone, name)
		}
	}
	return gone
}

// opened is a weight that a client has given a held canary.
type opened struct {
	newest   rollback.Revision
	manifest rollback.Manifest
	weight   rollback.Weight
	writer   string
	owner    rollback.Owner
}

// byOperator reports whether an operator has written the weight. An unknown client counts as
// one, unless another tool manages the route, or Helm was at work.
func (o opened) byOperator(r rollback.Record) bool {
	switch rollback.WriterOf(o.writer) {
	case rollback.WriterOperator:
		return true
	case rollback.WriterController, rollback.WriterHelm:
		return false
	case rollback.WriterUnknown:
	}
	return o.owner.Tool == "" && o.newest.UID == r.UID
}

// client names the client for operators.
func (o opened) client() string {
	if o.owner.Tool != "" && rollback.WriterOf(o.writer) != rollback.WriterHelm {
		return fmt.Sprintf("%s (%s)", o.owner.Tool, o.owner.Object)
	}
	return cmp.Or(rollback.Clip(rollback.Printable(o.writer), rollback.MaxName), "another client")
}

// reopened ends the hold for an operator, and sets the weight to zero again after any other
// client: at once, and more and more slowly if that goes on.
func (e *executor) reopened(ctx context.Context, r rollback.Record, o opened) (progress, error) {
	if o.byOperator(r) {
		if err := e.traffic.Unmark(ctx, r.Key, o.manifest); err != nil {
			return progress{record: r}, err
		}
		return e.liftHold(ctx, r, fmt.Sprintf("another client gave the canary a weight of %s on %s/%s", o.weight.To, o.weight.Kind, o.weight.Name))
	}
	if wait := r.Hold.ZeroAgainIn(time.Now()); wait > 0 {
		return progress{record: r, again: min(wait, holdInterval)}, nil
	}
	limited, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, zeroErr := e.traffic.Shed(limited, r.Key, o.manifest, nil, allOf(e.ensureOpen(r), e.ensureNewest(r.Key, o.newest)))
	if helmWrites(r, o) && zeroErr == nil {
		return progress{record: r, again: recheckInterval}, nil
	}
	stored, err := e.update(ctx, r, func(r *rollback.Record) bool {
		if !r.Hold.Active() {
			return false
		}
		r.Hold.Reopened++
		r.Hold.ReopenedAt, r.Hold.ReopenedBy, r.Hold.Problem = time.Now().UTC(), o.client(), ""
		if zeroErr != nil {
			r.Hold.Problem = rollback.Clip(zeroErr.Error(), rollback.MaxSummary)
		}
		return true
	})
	if err == nil {
		e.log.WarnContext(ctx, "another client gave a held canary a weight", "namespace", r.Namespace, "release", r.Release,
			"revision", r.Revision, "weights", o.weight.To, "reason", o.client(), "error", zeroErr)
	}
	return progress{record: stored, again: recheckInterval}, err
}

// helmWrites reports whether the weight is that of a Helm operation on a newer revision, which
// is nothing to notify the team of.
func helmWrites(r rollback.Record, o opened) bool {
	kind := rollback.WriterOf(o.writer)
	return o.newest.UID != r.UID && (kind == rollback.WriterHelm || kind == rollback.WriterUnknown && o.owner.Tool == "")
}
