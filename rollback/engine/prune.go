package engine

import (
	"context"
	"errors"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// prune deletes the records that rollback.Prunable names. Records that cannot be deleted
// now are deleted after the next one is closed.
func (e *executor) prune(ctx context.Context, k rollback.Key) {
	records, err := e.ledger.Records(ctx, k, rollback.Stored)
	if err != nil || len(rollback.RetentionExceeded(records, e.policy, time.Now())) == 0 {
		return
	}
	history, err := e.releases.History(ctx, k, rollback.Stored)
	if err != nil {
		return // without a history, any content may be known bad
	}
	for _, r := range rollback.Prunable(records, history, e.policy, time.Now()) {
		if err := e.ledger.Delete(ctx, r); err != nil && !errors.Is(err, rollback.ErrConflict) {
			e.log.WarnContext(ctx, "old record not deleted", "namespace", r.Namespace, "release", r.Release, "revision", r.Revision, "error", err)
		}
	}
}
