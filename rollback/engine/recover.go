package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// resume goes on with a rollback when the release is no longer at the suspect: this process,
// or one before it, got as far as writing the next revision.
func (e *executor) resume(ctx context.Context, r rollback.Record, history rollback.History, p rollback.Plan) (progress, error) {
	newest := history.Newest()
	ours := newest.Claim == r.UID && p.Suspect.UID == r.UID
	from, newer := history.From(r.UID)
	switch {
	case r.Rollback == nil && !ours && len(newer) > 0 && from.Newest().UID == r.UID:
		return progress{record: r, again: changedInterval}, nil // another client's operation has begun: decided again
	case r.Rollback == nil && (!ours || newest.Status == rollback.StatusDeployed):
		stored, err := e.update(ctx, r, func(r *rollback.Record) bool { return r.MoveOn(time.Now().UTC()) })
		return progress{record: stored}, err
	case !ours:
		return e.overtaken(ctx, r, history)
	case newest.Status == rollback.StatusDeployed:
		return e.rolledBack(ctx, r, newest.Number, p)
	case newest.Status.Pending():
		// Only the leader gets here, and it has no other rollback of this release under
		// way: the process that wrote this revision is dead or no longer the leader.
		err := e.releases.Recover(ctx, r.Key, newest)
		if errors.Is(err, rollback.ErrRevisionChanged) {
			return progress{record: r, again: recheckInterval}, nil
		}
		if err != nil {
			return progress{record: r}, err
		}
		e.log.WarnContext(ctx, "interrupted rollback marked as failed; trying again", "namespace", r.Namespace, "release", r.Release, "revision", newest.Number)
		return progress{record: r}, nil
	case r.Rollback != nil && newest.Number-r.Revision >= maxLeftovers:
		return e.rollbackFailed(ctx, r, newest, fmt.Errorf("revision %d is %s, the last of %d attempts", newest.Number, newest.Status, maxLeftovers))
	default:
		return e.checkedRollback(ctx, r, p)
	}
}

// overtaken ends a rollback after which another client wrote a revision.
func (e *executor) overtaken(ctx context.Context, r rollback.Record, history rollback.History) (progress, error) {
	for _, made := range history {
		if made.Claim == r.UID && (made.Status == rollback.StatusDeployed || made.Status == rollback.StatusSuperseded) {
			return e.rolledBack(ctx, r, made.Number, rollback.Plan{})
		}
	}
	newest := history.Newest()
	return e.abandonRollback(ctx, r, fmt.Sprintf("another client made revision %d meanwhile (%s); backout leaves it alone", newest.Number, newest.Description))
}

// recoverOwn marks as failed a pending revision that an unfinished rollback of the record
// left behind. The revision says so itself: the record may have lost its claim.
func (e *executor) recoverOwn(ctx context.Context, r rollback.Record) error {
	if r.Rollback.Finished() || r.Manual.Active() {
		return nil
	}
	history, err := e.releases.History(ctx, r.Key, rollback.Stored)
	if errors.Is(err, rollback.ErrUnknownRelease) {
		return nil
	}
	if err != nil {
		return err
	}
	newest := history.Newest()
	if newest.Claim != r.UID || !newest.Status.Pending() {
		return nil
	}
	if err := e.releases.Recover(ctx, r.Key, newest); err != nil && !errors.Is(err, rollback.ErrRevisionChanged) {
		return err
	}
	return nil
}
