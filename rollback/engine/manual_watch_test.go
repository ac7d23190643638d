package engine_test

import (
	"context"
	"reflect"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

// readBy calls before once, ahead of the first read of a single record.
type readBy struct {
	*cluster

	before func()
}

func (r readBy) Record(ctx context.Context, k rollback.Key, revision int) (rollback.Record, bool, error) {
	r.before()
	return r.cluster.Record(ctx, k, revision)
}

// claimManually stores that ann rolls the demo's release back, with her last progress at.
func claimManually(t *testing.T, c *cluster, at time.Time) {
	t.Helper()
	storeRecord(t, c, rollbackToV2(), func(r *rollback.Record) {
		r.Manual = &rollback.ManualRollback{Operator: "ann", ID: "a", Target: 1, Started: at, Progress: at}
	})
}

// TestAnOvertakenClaimIsEndedOnce: the record may change between the look at it and the write.
func TestAnOvertakenClaimIsEndedOnce(t *testing.T) {
	ended := rollback.ManualRollback{Operator: "ann", ID: "a", Target: 1, Ended: time.Unix(1, 0), Note: "done"}
	newer := rollback.ManualRollback{Operator: "bob", ID: "b", Target: 1, Started: time.Unix(1, 0), Progress: time.Unix(1, 0)}
	for name, manual := range map[string]*rollback.ManualRollback{
		"an editor has removed it": nil,
		"it has ended":             &ended,
		"it is another one":        &newer,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				claimManually(t, c, time.Now())
				c.upgrade("v4", "Upgrade complete")
				edit := sync.OnceFunc(func() { c.change(func() { c.records[rollbacktest.Shop()][0].Manual = manual }) })
				run(t, newEngine(t, c, rollbacktest.Policy(), func(o *engine.Options) { o.Ledger = readBy{c, edit} }))
				wait(500 * time.Millisecond) // it looks again after a second
				if got := c.shopRecord(2).Manual; !reflect.DeepEqual(got, manual) {
					t.Errorf("manual %+v; want what the other client wrote: %+v", got, manual)
				}
			})
		})
	}
}
