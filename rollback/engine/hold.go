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

// holdInterval is how often a held release is checked.
const holdInterval = 5 * time.Second

// beginHold stores that the weight stays zero.
func (e *executor) beginHold(ctx context.Context, r rollback.Record) (progress, error) {
	stored, err := e.update(ctx, r, func(r *rollback.Record) bool {
		if !r.LeftAtZero() {
			return false
		}
		r.Hold = &rollback.Hold{Since: time.Now().UTC()}
		return true
	})
	if err == nil {
		e.log.WarnContext(ctx, "canary held at zero", "namespace", r.Namespace, "release", r.Release,
			"revision", r.Revision, "verdict", r.Decision().Verdict, "reason", r.Decision().Reason)
	}
	return progress{record: stored}, err
}

// watchHold keeps a hold until a revision with different content arrives or an operator
// lifts it. It reports an operator's change, and never reverses it.
func (e *executor) watchHold(ctx context.Context, r rollback.Record) (progress, error) {
	history, err := e.releases.History(ctx, r.Key, rollback.Stored)
	if errors.Is(err, rollback.ErrUnknownRelease) {
		return e.endHold(ctx, r, "the release is gone")
	}
	if err != nil {
		return progress{record: r}, err
	}
	newest := history.Newest()
	held, known := history.Named(r.Revision)
	switch {
	case newest.Status == rollback.StatusUninstalled:
		return e.endHold(ctx, r, "the release is uninstalled")
	case !known || held.UID != r.UID:
		return e.endHold(ctx, r, fmt.Sprintf("the release has no such revision %d", r.Revision))
	case newest.Claim == r.UID && newest.Status.Pending():
		// An interrupted rollback of this very record, whose claim is gone.
		return progress{record: r, again: recheckInterval}, e.recoverOwn(ctx, r)
	case newest.UID == r.UID && e.inFlight(newest):
		// Helm itself may write the weight that its chart declares.
		e.keepZero(ctx, r, r.Suspect())
		return progress{record: r, again: recheckInterval}, nil
	case newest.UID == r.UID:
		return e.watchWeight(ctx, r, newest)
	case newest.Status.Pending(), newest.Status == rollback.StatusFailed, newest.Unreadable != "":
		// It is not known what runs. The weight stays zero until a revision is ready, or an
		// operator ends the hold.
		return e.watchWeight(ctx, r, newest)
	case newest.Content != "" && newest.Content == r.ContentIn(history):
		return e.carryHold(ctx, r, newest)
	default:
		return e.endHoldForNewContent(ctx, r, newest)
	}
}

// adoptHold signs the hold that an operator has ordered, once a route proves it: its content
// is known bad then, as that of every hold.
func (e *executor) adoptHold(ctx context.Context, r rollback.Record, m rollback.Manifest) (progress, error) {
	proven, err := e.proven(ctx, r, m)
	if err != nil || !proven {
		return progress{record: r, again: holdInterval}, err
	}
	history, err := e.releases.History(ctx, r.Key, rollback.Stored)
	if err != nil {
		return progress{record: r}, err
	}
	newest := history.Newest()
	if newest.UID != r.UID {
		return progress{record: r}, nil
	}
	stored, err := e.update(ctx, r, func(r *rollback.Record) bool {
		if !r.Unsigned || !r.Hold.Active() {
			return false
		}
		now := time.Now().UTC()
		d := r.Decision()
		d.At, d.Hold, d.Operator, d.Command = now, true, "", r.UnholdCommand()
		if d.Verdict == "" {
			d.Verdict, d.Reason = rollback.Act, "the canary is held at zero"
		}
		r.Adopt(newest, now)
		r.Decide(d)
		return true
	})
	return progress{record: stored, again: holdInterval}, err
}

// proven reports whether a canary was held: backout's own shed says so, or the mark on a route
// that only a client with rights on the route can set. A hold in a record is not signed.
func (e *executor) proven(ctx context.Context, r rollback.Record, m rollback.Manifest) (bool, error) {
	if r.OwnShed() {
		return true, nil
	}
	return e.traffic.Held(ctx, r.Key, m)
}

// carryHold continues the hold at a newer revision with the same content, such as the
// next step of a ramp.
func (e *executor) carryHold(ctx context.Context, r rollback.Record, newest rollback.Revision) (progress, error) {
	records, err := e.ledger.Records(ctx, r.Key, rollback.Stored)
	if err != nil {
		return progress{record: r}, err
	}
	manifest, err := e.releases.Manifest(ctx, r.Key, newest.Number)
	if err != nil {
		return progress{record: r}, err
	}
	proven, err := e.proven(ctx, r, manifest)
	if err != nil {
		return progress{record: r}, err
	}
	if !proven {
		return e.endHold(ctx, r, fmt.Sprintf("revision %d has the same content, and none of its routes is held", newest.Number))
	}
	next, known := rollback.FindRecord(records, newest)
	if !known || !next.Claimed() && next.Hold == nil {
		now := time.Now().UTC()
		if !known {
			next = rollback.NewRecord(r.Key, newest, records, now)
		}
		d := r.Decision()
		d.At, d.Hold, d.Shed, d.Waits, d.Rollback, d.Target, d.Operator = now, true, true, false, false, 0, ""
		d.Reason = fmt.Sprintf("revision %d has the content of revision %d, which is held: %s", newest.Number, r.Revision, d.Reason)
		next.Decide(d)
		next.Closed = time.Time{}
		if _, err := e.ledger.Save(ctx, next); err != nil {
			return progress{record: r}, err
		}
		e.enqueue(r.Key)
	}
	return e.endHold(ctx, r, fmt.Sprintf("it continues at revision %d, which has the same content", newest.Number))
}

// endHoldForNewContent ends a hold for a revision with different content and gives its
// canary the weight that it declares, once its pods are ready: on routes that are not
// part of Kubernetes itself, Helm leaves the zero as it is.
func (e *executor) endHoldForNewContent(ctx context.Context, r rollback.Record, newest rollback.Revision) (progress, error) {
	ready, _, err := e.releases.Ready(ctx, r.Key, newest.Number)
	if err != nil {
		return progress{record: r}, err
	}
	if !ready {
		return e.watchWeight(ctx, r, newest)
	}
	why := fmt.Sprintf("revision %d has different content", newest.Number)
	switch err := e.ensureNoSignal(ctx, r.Key, newest); {
	case errors.Is(err, errHasSignal):
		return e.endHold(ctx, r, why+"; an alert fires for it as well")
	case err != nil:
		return progress{record: r}, err
	}
	manifest, err := e.releases.Manifest(ctx, r.Key, newest.Number)
	if err != nil {
		return progress{record: r}, err
	}
	routing, err := e.traffic.Observe(ctx, r.Key, manifest, rollback.Stored)
	if err != nil {
		return progress{record: r}, err
	}
	if len(routing.Weights) > 0 && !slices.ContainsFunc(routing.Weights, func(w rollback.Weight) bool { return w.To == "0" }) {
		if err := e.traffic.Unmark(ctx, r.Key, manifest); err != nil {
			return progress{record: r}, err
		}
		return e.endHold(ctx, r, why+"; another client has given its canary the weight "+liveWeights(routing.Weights))
	}
	isNewest := e.ensureNewest(r.Key, newest)
	restore := e.traffic.Restore
	if !r.OwnShed() {
		restore = e.traffic.RestoreHeld
	}
	weights, err := restore(ctx, r.Key, manifest, func(ctx context.Context) error {
		if err := isNewest(ctx); err != nil {
			return err
		}
		return e.ensureNoSignal(ctx, r.Key, newest)
	})
	if errors.Is(err, rollback.ErrRevisionChanged) || errors.Is(err, errHasSignal) {
		return progress{record: r, again: recheckInterval}, nil
	}
	if err != nil {
		return progress{record: r}, err
	}
	if text := rollback.FormatWeights(weights); text != "" {
		why += "; " + text
	}
	return e.endHold(ctx, r, why)
}

// liveWeights returns weights as they are now, such as "5 on Ingress/shop-canary".
func liveWeights(weights []rollback.Weight) string {
	texts := make([]string, len(weights))
	for i, w := range weights {
		texts[i] = fmt.Sprintf("%s on %s/%s", w.To, w.Kind, w.Name)
	}
	return strings.Join(texts, ", ")
}

// errHasSignal says that a revision has a record of its own that takes its canary out of
// rotation.
var errHasSignal = errors.New("an alert fires for the revision as well")

// ensureNoSignal returns errHasSignal if the revision's canary was, or is about to be,
// taken out of rotation for a signal of its own.
func (e *executor) ensureNoSignal(ctx context.Context, k rollback.Key, revision rollback.Revision) error {
	records, err := e.ledger.Records(ctx, k, rollback.Stored)
	if err != nil {
		return err
	}
	if own, ok := rollback.FindRecord(records, revision); ok && (own.Claimed() || own.Hold.Active()) {
		return errHasSignal
	}
	return nil
}

func (e *executor) endHold(ctx context.Context, r rollback.Record, why string) (progress, error) {
	return e.closeHold(ctx, r, why, (*rollback.Hold).End)
}

func (e *executor) liftHold(ctx context.Context, r rollback.Record, why string) (progress, error) {
	return e.closeHold(ctx, r, why, (*rollback.Hold).Lift)
}

func (e *executor) closeHold(ctx context.Context, r rollback.Record, why string, end func(*rollback.Hold, time.Time, string)) (progress, error) {
	now := time.Now().UTC()
	stored, err := e.update(ctx, r, func(r *rollback.Record) bool {
		end(r.Hold, now, why)
		r.Closed = now
		return true
	})
	if err != nil {
		return progress{record: stored}, err
	}
	e.log.InfoContext(ctx, "hold ended", "namespace", r.Namespace, "release", r.Release, "revision", r.Revision, "reason", why)
	e.prune(ctx, r.Key)
	return progress{record: stored}, nil
}
