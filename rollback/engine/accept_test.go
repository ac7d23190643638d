package engine_test

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

func TestAcceptFailsWhenTheRecordCannotBeStored(t *testing.T) {
	c := newCluster()
	c.saveErrors = []error{errors.New("etcd is down")}
	e := newEngine(t, c, rollbacktest.Policy())
	if err := e.Accept(t.Context(), []rollback.Alert{alert("rollback")}); err == nil {
		t.Error("Accept returned nil though nothing was stored: Alertmanager would not repeat the alert")
	}
	if len(c.weightsWritten) != 0 {
		t.Error("the canary was shed without a record")
	}
}

func TestTooManyWebhooksAtOnceAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		e := newEngine(t, c, rollbacktest.Policy())
		c.readTime = time.Second // the API server is slow
		var senders sync.WaitGroup
		var busy, stored atomic.Int32
		for range 200 {
			senders.Go(func() {
				switch err := e.Accept(t.Context(), []rollback.Alert{alert("rollback")}); {
				case errors.Is(err, engine.ErrBusy):
					busy.Add(1)
				case err == nil:
					stored.Add(1)
				default:
					t.Errorf("Accept: %v", err)
				}
			})
		}
		senders.Wait()
		if busy.Load() == 0 || stored.Load() == 0 {
			t.Errorf("%d refused, %d stored; want those within the bound stored, and the others refused", busy.Load(), stored.Load())
		}
	})
}

func TestACachedReleaseIsDecidedWithoutARead(t *testing.T) {
	for name, tc := range map[string]struct {
		notCached bool
		want      time.Duration
	}{
		"cached":     {false, 0},
		"not cached": {true, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCluster()
				c.notCached, c.readTime = tc.notCached, time.Second
				e := newEngine(t, c, rollbacktest.Policy(), follower)
				begun := time.Now()
				deliver(t, e, alert("shed"))
				if _, ok := c.record(rollbacktest.Shop(), 2); !ok || time.Since(begun) != tc.want {
					t.Errorf("the record is stored (%v) after %s, want it after %s", ok, time.Since(begun), tc.want)
				}
			})
		})
	}
}
