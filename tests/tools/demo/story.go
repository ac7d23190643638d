package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/tests/env/progress"
	"github.com/upcommerce/backout/tests/env/stage"
	"github.com/upcommerce/backout/tests/env/story"
)

// The story's revisions: v2 is installed, v3 is bad.
const (
	goodRevision = 1
	badRevision  = 2
)

// The shoppers, and the share of the bad canary's requests that fails.
const (
	shoppersPerSecond = 50
	canaryPercent     = 20
	badShare          = 0.5
	measured          = 1000
)

// ground is the cluster that the story happens on.
type ground interface {
	// prepare returns when everything is there that monitor needs. The time for it does not
	// count.
	prepare(ctx context.Context) error
	// monitor starts backout, Alertmanager and Prometheus.
	monitor(ctx context.Context) error
	// alerts returns Prometheus' alerts.
	alerts(ctx context.Context) ([]promv1.Alert, error)
	// log returns backout's log.
	log(ctx context.Context) string
}

// scene is one run of the demo.
type scene struct {
	ground
	// shop is the place of the storefront.
	shop stage.Place
	bar  *progress.Progress
	out  io.Writer
	// lag is how long the router may take to follow a weight.
	lag time.Duration

	// canary is the bad canary; nil until everything is prepared.
	canary *story.Canary

	// left is the time for what is still to be played.
	left          time.Duration
	before, after stage.Split
}

// play returns nil only if everything happened in the right order.
func (s *scene) play(ctx context.Context) error {
	if err := s.act(ctx, s.install); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "\nv1 is stable, v2 the canary with %d%% of the traffic.\n  %s\n", canaryPercent, s.before)
	if !s.before.Within("v2", canaryPercent/100.0) {
		return fmt.Errorf("the split is not %d:%d", 100-canaryPercent, canaryPercent)
	}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	s.bar.Begin("starting backout, Alertmanager and Prometheus")
	if err := s.act(ctx, s.monitor); err != nil {
		return err
	}
	return s.act(ctx, s.turnBad)
}

// act plays an act within the time that is left for the story.
func (s *scene) act(ctx context.Context, play func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, s.left)
	defer cancel()
	begun := time.Now()
	err := play(ctx)
	s.left -= time.Since(begun)
	s.bar.End()
	return err
}

// turnBad deploys the bad v3, and follows it until backout has verified its rollback.
func (s *scene) turnBad(ctx context.Context) error {
	timeline, err := s.shop.Watch(ctx)
	if err != nil {
		return err
	}
	s.canary = &story.Canary{
		Key: rollback.Key{Namespace: s.shop.Namespace, Release: stage.Release}, Revision: badRevision,
		Client: s.shop.Client, Timeline: timeline, Shoppers: s.shop.Shoppers(), Lag: s.lag, Alerts: s.alerts, Out: s.out,
	}
	fmt.Fprintf(s.out, "\nNow v3 becomes the canary; it fails half of its requests. Shoppers keep sending %d requests per second.\n\n", shoppersPerSecond)

	strolling, home := context.WithCancel(ctx)
	defer home()
	strolled := make(chan struct{})
	go func() {
		defer close(strolled)
		s.canary.Shoppers.Stroll(strolling, shoppersPerSecond)
	}()
	if err := s.shop.Install(ctx, stage.Release, append(stage.Canary("v3", "yellow", canaryPercent), stage.Failing(badShare))...); err != nil {
		return err
	}
	if err := s.canary.Follow(ctx); err != nil {
		return fmt.Errorf("%w; backout's log:\n%s", err, s.log(ctx))
	}
	s.canary.AddLastBad()
	home()
	<-strolled
	s.bar.Begin(fmt.Sprintf("measuring the split over %d requests", measured))
	walkers := s.shop.Shoppers()
	if err := walkers.AwaitOpen(ctx, "v2"); err != nil {
		return err
	}
	s.after = walkers.Split(ctx, measured)
	s.bar.End()
	return s.check(ctx)
}

// install installs v1 and v2, waits for their pods, and measures the split.
func (s *scene) install(ctx context.Context) error {
	s.bar.Begin("helm: installing canary-demo, v1 with the canary v2")
	if err := s.shop.Install(ctx, stage.Release, stage.Canary("v2", "green", canaryPercent)...); err != nil {
		return err
	}
	s.bar.Begin("waiting for the pods")
	if err := s.shop.AwaitRollout(ctx); err != nil {
		return err
	}
	if err := s.shop.Shoppers().AwaitOpen(ctx, "v1", "v2"); err != nil {
		return err
	}
	s.bar.Begin(fmt.Sprintf("measuring the split over %d requests", measured))
	s.before = s.shop.Shoppers().Split(ctx, measured)
	return nil
}

// check checks that the story happened as it should.
func (s *scene) check(ctx context.Context) error {
	err := s.canary.Check(ctx, goodRevision)
	if !s.after.Within("v2", canaryPercent/100.0) {
		err = errors.Join(err, fmt.Errorf("after the rollback, v2 does not serve %d%%: %s", canaryPercent, s.after))
	}
	return err
}
