package engine_test

import (
	"context"
	"errors"
	"fmt"
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

// readCounter counts the histories that are read from the API server.
type readCounter struct {
	rollback.Releases

	reads atomic.Int32
	// uncovered makes the cache say of an unknown release that no watch covers it.
	uncovered bool
}

func (r *readCounter) History(ctx context.Context, k rollback.Key, c rollback.Consistency) (rollback.History, error) {
	if c != rollback.Cached {
		r.reads.Add(1)
	}
	h, err := r.Releases.History(ctx, k, c)
	if c == rollback.Cached && r.uncovered && errors.Is(err, rollback.ErrUnknownRelease) {
		return nil, rollback.ErrNotCached
	}
	return h, err
}

// A webhook about thousands of releases that do not exist neither floods the API server
// nor hides the one that does. Alerts about releases that no watch covers have to be
// repeated; a release that a watch covers and does not have is refused.
func TestOneWebhookCausesABoundedNumberOfReads(t *testing.T) {
	for name, tc := range map[string]struct {
		uncovered bool
		want      error
	}{
		"the watches cover the releases":        {false, nil},
		"the watches do not cover the releases": {true, engine.ErrTooManyReleases},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster()
			counter := &readCounter{Releases: c, uncovered: tc.uncovered}
			e := newEngine(t, c, rollbacktest.Policy(), func(o *engine.Options) { o.Releases = counter })
			alerts := []rollback.Alert{alert("shed")}
			for i := range 6500 {
				a := alert("shed")
				a.Labels["release"] = fmt.Sprintf("none-%d", i)
				alerts = append(alerts, a)
			}
			err := e.Accept(t.Context(), alerts)
			if !errors.Is(err, tc.want) || err != nil && len(err.Error()) > 1000 {
				t.Errorf("the sender is answered %v, want %v", err, tc.want)
			}
			if n := counter.reads.Load(); n > 101 {
				t.Errorf("%d releases were read for one webhook, want at most 100", n)
			}
			if _, ok := c.record(rollbacktest.Shop(), 2); !ok {
				t.Error("the alert about the release that exists is not stored")
			}
		})
	}
}
