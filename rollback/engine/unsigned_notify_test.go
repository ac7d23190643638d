package engine_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

// TestTheTeamGetsNoUnsignedRecordThatIsClosedOrNotOptedIn: another client may have written it.
func TestTheTeamGetsNoUnsignedRecordThatIsClosedOrNotOptedIn(t *testing.T) {
	other := rollback.Key{Namespace: "not-opted-in", Release: "web"}
	for name, c := range map[string]struct {
		record rollback.Record
		passed bool
	}{
		"signed and closed":         {rollback.Record{Key: rollbacktest.Shop(), Closed: rollbacktest.Now()}, true},
		"unsigned and open":         {rollback.Record{Key: rollbacktest.Shop(), Unsigned: true}, true},
		"unsigned and closed":       {rollback.Record{Key: rollbacktest.Shop(), Unsigned: true, Closed: rollbacktest.Now()}, false},
		"unsigned and not opted in": {rollback.Record{Key: other, Unsigned: true}, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			n := &notifier{}
			e := newEngine(t, newCluster(), rollbacktest.Policy(), follower, func(o *engine.Options) { o.Notifier = n })
			run(t, e)
			c.record.Revision, c.record.Opened = 2, time.Now()
			e.OnRecord(c.record)
			if passed := len(n.records) == 1; passed != c.passed {
				t.Errorf("%s: passed to the notifier: %t, want %t", name, passed, c.passed)
			}
		})
	}
}
