package engine_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/rollbacktest"
)

// hangingHooks is a cluster in which the hooks of some releases hang, until Helm's timeout.
type hangingHooks struct {
	*cluster

	of map[rollback.Key]bool
}

func (h hangingHooks) RollBack(ctx context.Context, p rollback.Plan) (int, error) {
	if h.of[p.Key] {
		time.Sleep(time.Hour)
	}
	return h.cluster.RollBack(ctx, p)
}

// TestHangingHooksDelayNoOtherRelease: as many rollbacks hang as are worked on at a time.
func TestHangingHooksDelayNoOtherRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCluster()
		hooks := hangingHooks{c, make(map[rollback.Key]bool)}
		hanging := addReleases(c, 24)
		for _, a := range hanging {
			hooks.of[keyOf(a)] = true
		}
		p := rollbacktest.Policy()
		p.StormReleases = 1000
		e := newEngine(t, c, p, func(o *engine.Options) { o.Releases = hooks })
		run(t, e)
		deliver(t, e, hanging...)
		wait(time.Second)
		deliver(t, e, alert("rollback"))
		wait(30 * time.Second)
		if r := c.shopRecord(2); !r.Rollback.Succeeded() {
			t.Errorf("rollback %+v; want it done within seconds while %d others hang", r.Rollback, len(hanging))
		}
	})
}
