package upcommerce

import (
	"context"
	"fmt"
	"time"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"

	"github.com/upcommerce/backout/tests/stage"
	"github.com/upcommerce/backout/tests/story"
)

// latency is what a slow canary adds to each of its pages.
const latency = 400 * time.Millisecond

// backedOut is a canary that an alert ended.
type backedOut struct {
	what     string
	zero     time.Duration // from the first bad request to weight zero
	spoiled  int
	requests int
}

// slow brings a v3 that answers, but late.
func (r *run) slow(ctx context.Context) error {
	return r.bad(ctx, "a slow v3", "config.canary.env.FAULT_LATENCY="+latency.String(), tooSlow)
}

// tooSlow reports whether the slow v3 has spoiled the visit.
func tooSlow(v stage.Visit) bool { return v.Failed() || v.Version == "v3" && v.Took >= latency }

// failing brings a v3 that fails half of its requests.
func (r *run) failing(ctx context.Context) error {
	return r.bad(ctx, "a failing v3", "config.canary.env.FAULT_ERROR_SHARE=0.5", stage.Visit.Failed)
}

// bad brings a bad v3 and follows it until backout has judged that the rollback
// helped.
func (r *run) bad(ctx context.Context, what, fault string, spoiled func(stage.Visit) bool) error {
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
	r.say("split before:")
	if err := r.split(ctx, "v2"); err != nil {
		return err
	}
	if err := r.install(ctx, canaryOf("v3", "yellow", fault)...); err != nil {
		return err
	}
	canary := &story.Canary{
		Key: r.key(), Revision: good + 1, Client: client, Timeline: timeline, Shoppers: r.shoppers, Spoiled: spoiled,
		Alerts: r.alerts, Out: r.out,
	}
	if err := canary.Follow(ctx); err != nil {
		return fmt.Errorf("%w; is %s among backout's releases, in mode act, with Alertmanager's route leading to it?", err, r.key())
	}
	canary.LookBack()
	r.say("in order, in seconds from the first bad request:")
	canary.Moments.Table(r.out)
	if err := canary.Judge(ctx, good); err != nil {
		return err
	}
	zero, _ := canary.Moments.First(story.SawZero)
	r.automatic = append(r.automatic, backedOut{
		what: what, zero: zero.At.Sub(canary.Moments.Began()), spoiled: len(canary.Spoils()), requests: len(r.shoppers.Visits()),
	})
	if err := r.rolledOut(ctx, "v1", "v2"); err != nil {
		return err
	}
	r.say("split after:")
	return r.split(ctx, "v2")
}

func (r *run) alerts(ctx context.Context) ([]promv1.Alert, error) {
	found, err := r.Prometheus.Alerts(ctx)
	return found.Alerts, err
}
