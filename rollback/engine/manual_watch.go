package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// leaveToOperator returns when to look again at a release that an operator rolls back with a
// command, and 0 if none does. A command without progress is stored in the record, and so
// reported. A release that another client has changed since is backout's again.
func (rc *reconciler) leaveToOperator(ctx context.Context, records []rollback.Record) time.Duration {
	i := slices.IndexFunc(records, func(r rollback.Record) bool {
		return r.Manual.Active() && r.Closed.IsZero() && !r.SetAside() && rc.policy.Allows(r.Key)
	})
	if i < 0 {
		return 0
	}
	var again time.Duration
	rc.contain(ctx, records[i], func() { again = rc.watchClaim(ctx, records[i], records) })
	return again
}

// watchClaim looks at the record with an active claim. It ends a claim that another client has
// overtaken.
func (rc *reconciler) watchClaim(ctx context.Context, r rollback.Record, records []rollback.Record) time.Duration {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stepTimeout)
	defer cancel()
	history, err := rc.releases.History(ctx, r.Key, rollback.Stored)
	if err != nil && !errors.Is(err, rollback.ErrUnknownRelease) {
		return rc.logAndRetry(ctx, r.Key, "read the release that an operator rolls back", err)
	}
	if err == nil {
		if claim, ok := rollback.ManualClaim(history, records); ok {
			return rc.watchManual(ctx, claim)
		}
	}
	old := *r.Manual
	_, err = rc.update(ctx, r, func(r *rollback.Record) bool {
		if !r.Manual.Active() || r.Manual.ID != old.ID || !r.Manual.Started.Equal(old.Started) {
			return false // it has ended in its own way, or is another one
		}
		ended := *r.Manual
		ended.Ended, ended.Note = time.Now().UTC(), "the release was changed by another client meanwhile"
		r.Manual = &ended
		return true
	})
	if err != nil {
		return rc.logAndRetry(ctx, r.Key, "end the claim of an operator's rollback", err)
	}
	return recheckInterval
}

// watchManual stores that the operator's command has no progress.
func (rc *reconciler) watchManual(ctx context.Context, r rollback.Record) time.Duration {
	now := time.Now().UTC()
	if !r.Manual.Stalled.IsZero() || !r.Manual.Late(now, rollback.ManualPatience) {
		return sweepInterval
	}
	_, err := rc.update(ctx, r, func(r *rollback.Record) bool {
		if !r.Manual.Late(now, rollback.ManualPatience) {
			return false
		}
		stalled := *r.Manual
		stalled.Stalled = now
		r.Manual = &stalled
		return true
	})
	if err != nil {
		return rc.logAndRetry(ctx, r.Key, "store that an operator's rollback does not go on", err)
	}
	rc.log.WarnContext(ctx, "an operator's rollback does not go on", "namespace", r.Namespace, "release", r.Release,
		"revision", r.Revision, "target", r.Manual.Target, "reason", fmt.Sprintf("no progress for %s", rollback.ManualPatience))
	return sweepInterval
}
