package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// leaveToOperator returns when to look again at a release that an operator rolls back with a
// command, and 0 if none does. A command without progress is stored in the record, and so
// reported. A release that another client has changed since is backout's again.
func (rc *reconciler) leaveToOperator(ctx context.Context, k rollback.Key, records []rollback.Record) time.Duration {
	i := slices.IndexFunc(records, func(r rollback.Record) bool {
		return r.Manual.Active() && r.Closed.IsZero() && !r.SetAside() && rc.policy.Allows(r.Key)
	})
	if i < 0 {
		rc.claims.forget(k)
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
			return rc.watchManual(ctx, claim, history)
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

// watchManual stores that the operator's command has no progress, and ends its claim if it has
// changed nothing.
func (rc *reconciler) watchManual(ctx context.Context, r rollback.Record, history rollback.History) time.Duration {
	old := *r.Manual
	silence := rc.claims.silent(r.Key, old)
	switch {
	case silence < manualAlive:
		return manualAlive - silence
	case silence < rollback.ManualPatience && old.Quiet.IsZero():
		if err := rc.noteQuiet(ctx, r, time.Now().UTC().Add(-silence)); err != nil {
			return rc.logAndRetry(ctx, r.Key, "store since when an operator's rollback reports nothing", err)
		}
		return recheckInterval
	case silence < rollback.ManualPatience:
		return min(rollback.ManualPatience-silence, sweepInterval)
	}
	changed, err := rc.changedByClaim(ctx, r, history)
	if err != nil {
		return rc.logAndRetry(ctx, r.Key, "find out how far an operator's rollback got", err)
	}
	if changed && !old.Stalled.IsZero() {
		return sweepInterval
	}
	_, err = rc.update(ctx, r, func(r *rollback.Record) bool {
		if !r.Manual.Active() || r.Manual.ID != old.ID || !r.Manual.Progress.Equal(old.Progress) {
			return false
		}
		if !changed {
			abandon(r, "the command has ended without a change")
			return true
		}
		stalled := *r.Manual
		stalled.Stalled = time.Now().UTC()
		r.Manual = &stalled
		return true
	})
	if err != nil {
		return rc.logAndRetry(ctx, r.Key, "store that an operator's rollback does not go on", err)
	}
	rc.log.WarnContext(ctx, "an operator's rollback does not go on", "namespace", r.Namespace, "release", r.Release,
		"revision", r.Revision, "target", r.Manual.Target, "reason", fmt.Sprintf("no progress for %s", rollback.ManualPatience))
	if !changed {
		return recheckInterval
	}
	return sweepInterval
}

// noteQuiet stores since when the operator's command has reported nothing.
func (rc *reconciler) noteQuiet(ctx context.Context, r rollback.Record, since time.Time) error {
	old := *r.Manual
	_, err := rc.update(ctx, r, func(r *rollback.Record) bool {
		if !r.Manual.Active() || r.Manual.ID != old.ID || !r.Manual.Progress.Equal(old.Progress) {
			return false
		}
		quiet := *r.Manual
		quiet.Quiet = since
		r.Manual = &quiet
		return true
	})
	return err
}

// changedByClaim reports whether the operator's command may have changed the release: it says
// so in the record, Helm has a revision of it, or a route is at zero and marked.
func (rc *reconciler) changedByClaim(ctx context.Context, r rollback.Record, history rollback.History) (bool, error) {
	made := func(rev rollback.Revision) bool { return rev.Claim == r.UID }
	if r.Shed.Succeeded() || slices.ContainsFunc(history, made) {
		return true, nil
	}
	return rc.confirmLeftover(ctx, r.Key)
}

// claims are the last reports of all active claims. It is safe for concurrent use; the zero
// value is empty.
type claims struct {
	mu   sync.Mutex
	last map[rollback.Key]progressReport
}

// silent returns for how long the claim has had no report of progress: as this process has seen it,
// or an earlier leader that has stored it.
func (c *claims) silent(k rollback.Key, m rollback.ManualRollback) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == nil {
		c.last = make(map[rollback.Key]progressReport)
	}
	last := c.last[k]
	silence := last.silent(m)
	c.last[k] = last
	if m.Quiet.IsZero() || silence < manualAlive { // clocks differ: each leader hears nothing for a while itself
		return silence
	}
	return max(silence, time.Since(m.Quiet))
}

func (c *claims) forget(k rollback.Key) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.last, k)
}
