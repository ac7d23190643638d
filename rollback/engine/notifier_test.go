package engine_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

// notifier is a rollback.Notifier that keeps the records it gets.
type notifier struct {
	mu      sync.Mutex
	records []rollback.Record
}

func (n *notifier) Notify(r rollback.Record) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.records = append(n.records, r)
}

func TestEveryReplicaPassesEveryRecordToItsNotifier(t *testing.T) {
	for name, role := range map[string]func(*engine.Options){"leader": leader, "follower": follower} {
		synctest.Test(t, func(t *testing.T) {
			c, n := newCluster(), &notifier{}
			e := newEngine(t, c, rollbacktest.Policy(), role, func(o *engine.Options) { o.Notifier = n })
			run(t, e)
			storeRecord(t, c, rollbackToV2())
			r := c.shopRecord(2)
			e.OnRecord(r)
			r.Closed = time.Now()
			e.OnRecord(r)
			if len(n.records) != 2 || !n.records[0].Closed.IsZero() || n.records[1].Closed.IsZero() {
				t.Errorf("%s: the notifier got %d records, want both, as they were stored", name, len(n.records))
			}
		})
	}
}

func TestStepsKeepWhatTheNotifierStored(t *testing.T) {
	simulate(t, func(t *testing.T, c *cluster, e *engine.Engine) {
		c.afterShed = func() {
			// The notifier stores what it has sent while the shed is being done.
			r := &c.records[rollbacktest.Shop()][0]
			c.versions++
			r.Version = "notified-" + r.Version
			r.Notified = map[string]rollback.Notified{"slack-bot": {Entries: []string{"shed"}, MessageID: "C1:1.2"}}
		}
		deliver(t, e, alert("rollback"))
		wait(15 * time.Minute)
		if r := c.shopRecord(2); r.Notified["slack-bot"].MessageID != "C1:1.2" || !r.Verify.Succeeded() {
			t.Errorf("notified %+v, %s; want both what was sent and every step", r.Notified, report.Summary(&r))
		}
	})
}
