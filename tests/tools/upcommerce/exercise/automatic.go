package exercise

import (
	"context"
	"fmt"
	"time"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"

	"github.com/upcommerce/backout/tests/env/stage"
	"github.com/upcommerce/backout/tests/env/story"
)

// latency is how much longer a slow canary takes for each page.
const latency = 400 * time.Millisecond

// backedOut is a bad canary that was rolled back because of an alert.
type backedOut struct {
	name     string
	zero     time.Duration // from the first bad request to weight zero
	bad      int
	requests int
}

// slow installs a v3 that answers late.
func (r *run) slow(ctx context.Context) error {
	return r.bad(ctx, "a slow v3", "config.canary.env.FAULT_LATENCY="+latency.String(), tooSlow)
}

// tooSlow reports whether a visit was bad because of the slow v3.
func tooSlow(v stage.Visit) bool { return v.Failed() || v.Version == "v3" && v.Took >= latency }

// failing installs a v3 that fails half of its requests.
func (r *run) failing(ctx context.Context) error {
	return r.bad(ctx, "a failing v3", "config.canary.env.FAULT_ERROR_SHARE=0.5", stage.Visit.Failed)
}

// bad installs a bad v3 and follows it until backout has verified that the rollback
// helped.
func (r *run) bad(ctx context.Context, name, fault string, isBad func(stage.Visit) bool) error {
	r.awaitOwnWindows(ctx)
	r.stroll(ctx)
	good, err := r.deployed(ctx)
	if err != nil {
		return err
	}
	client, err := r.client()
	if err != nil {
		return err
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	timeline, err := stage.Watch(watching, r.Config, Namespace)
	if err != nil {
		return err
	}
	r.printf("split before:")
	if err := r.split(ctx, "v2"); err != nil {
		return err
	}
	if err := r.install(ctx, canaryOf("v3", "yellow", fault)...); err != nil {
		return err
	}
	canary := &story.Canary{
		Key: r.key(), Revision: good + 1, Client: client, Timeline: timeline, Shoppers: r.shoppers, Bad: isBad,
		Alerts: r.alerts, Out: r.out,
	}
	if err := canary.Follow(ctx); err != nil {
		return fmt.Errorf("%w; is %s one of backout's releases, is backout in mode act, and does Alertmanager have a route to it?", err, r.key())
	}
	canary.AddLastBad()
	r.printf("in order, in seconds from the first bad request:")
	canary.Moments.Table(r.out)
	if err := canary.Check(ctx, good); err != nil {
		return err
	}
	zero, _ := canary.Moments.First(story.SawZero)
	r.automatic = append(r.automatic, backedOut{
		name: name, zero: zero.At.Sub(canary.Moments.Began()), bad: len(canary.BadVisits()), requests: len(r.shoppers.Visits()),
	})
	if err := r.rolledOut(ctx, "v1", "v2"); err != nil {
		return err
	}
	r.replaced = time.Now()
	r.printf("split after:")
	return r.split(ctx, "v2")
}

// awaitOwnWindows waits until no alert looks back to the v3 before. Until then, backout does not
// act on an alert about the same tag.
func (r *run) awaitOwnWindows(ctx context.Context) {
	r.bar.Begin("waiting until no alert looks back to the v3 before")
	defer r.bar.End()
	select {
	case <-ctx.Done():
	case <-time.After(time.Until(r.replaced.Add(r.LooksBack))):
	}
}

func (r *run) alerts(ctx context.Context) ([]promv1.Alert, error) {
	found, err := r.Prometheus.Alerts(ctx)
	return found.Alerts, err
}
