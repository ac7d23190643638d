package engine_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

// twoStorages is a cluster whose release is in two storages once twice is set.
type twoStorages struct {
	*cluster

	twice atomic.Bool
}

func (c *twoStorages) History(ctx context.Context, k rollback.Key, consistency rollback.Consistency) (rollback.History, error) {
	if c.twice.Load() {
		return nil, fmt.Errorf("%s: %w", k, rollback.ErrTwoStorages)
	}
	return c.cluster.History(ctx, k, consistency)
}

func (c *twoStorages) EnsureNewest(ctx context.Context, k rollback.Key, revision rollback.Revision) error {
	if c.twice.Load() {
		return fmt.Errorf("%s: %w", k, rollback.ErrTwoStorages)
	}
	return c.cluster.EnsureNewest(ctx, k, revision)
}

// An alert about a release in two storages is not stored, and so the sender repeats it: the release
// exists, and its canary may be bad. A hold that began before goes on: the release is not gone.
func TestAReleaseInTwoStoragesIsRefused(t *testing.T) {
	synctestRun(t, func(t *testing.T, c *cluster) {
		both := &twoStorages{cluster: c}
		e := newEngine(t, c, rollbacktest.Policy(), func(o *engine.Options) { o.Releases = both })
		run(t, e)
		both.twice.Store(true)
		if err := e.Accept(t.Context(), []rollback.Alert{alert("rollback")}); !errors.Is(err, rollback.ErrTwoStorages) {
			t.Errorf("Accept: %v, want an error that makes the sender repeat the alert", err)
		}
		wait(time.Minute)
		if _, ok := c.record(rollbacktest.Shop(), 2); ok || len(c.weightsWritten) > 0 {
			t.Errorf("an alert about a release in two storages leads to a record (%t) or to writes: %v", ok, c.weightsWritten)
		}
		both.twice.Store(false)
		deliver(t, e, alert("shed"))
		wait(time.Minute)
		both.twice.Store(true)
		wait(10 * time.Minute)
		r, ok := c.record(rollbacktest.Shop(), 2)
		if !ok || !r.Hold.Active() || !r.Closed.IsZero() {
			t.Fatalf("the hold of a release that is in two storages now has ended: %+v", r.Hold)
		}
		if r.Obstacle == nil || !strings.Contains(r.Obstacle.Error, rollback.ErrTwoStorages.Error()) {
			t.Errorf("the team does not learn why backout cannot go on: %+v", r.Obstacle)
		}
	})
}
