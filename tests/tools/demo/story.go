package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/tests/env/progress"
	"github.com/upcommerce/backout/tests/env/sandbox"
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

// scene is one run of the demo.
type scene struct {
	stage *stage.Stage
	bar   *progress.Progress
	out   io.Writer
	// pictures is the folder for pictures, "" if none are taken.
	pictures string

	backout      *stage.Backout
	alertmanager *sandbox.Alertmanager
	prometheus   *sandbox.Prometheus
	// canary is the bad canary; nil until everything is prepared.
	canary *story.Canary

	// left is the time for what is still to be played.
	left time.Duration
	// began is when Prometheus was started.
	began         time.Time
	before, after stage.Split
}

// play returns nil only if everything happened in the right order. The second act begins
// when the rest is compiled.
func (s *scene) play(ctx context.Context, rest *compilation) error {
	if err := s.act(ctx, s.install); err != nil {
		return err
	}
	fmt.Fprintf(s.out, "\nv1 is stable, v2 the canary with %d%% of the traffic.\n  %s\n", canaryPercent, s.before)
	if !s.before.Within("v2", canaryPercent/100.0) {
		return fmt.Errorf("the split is not %d:%d", 100-canaryPercent, canaryPercent)
	}
	if err := rest.await(ctx, s.bar); err != nil {
		return err
	}
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
	timeline, err := s.stage.Watch(ctx)
	if err != nil {
		return err
	}
	s.canary = &story.Canary{
		Key: rollback.Key{Namespace: stage.Namespace, Release: stage.Release}, Revision: badRevision,
		Client: s.stage.Client, Timeline: timeline, Shoppers: s.stage.Shoppers(), Alerts: s.prometheus.Alerts, Out: s.out,
	}
	fmt.Fprintf(s.out, "\nNow v3 becomes the canary; it fails half of its requests. Shoppers keep sending %d requests per second.\n\n", shoppersPerSecond)

	strolling, home := context.WithCancel(ctx)
	defer home()
	strolled := make(chan struct{})
	go func() {
		defer close(strolled)
		s.canary.Shoppers.Stroll(strolling, shoppersPerSecond)
	}()
	if err := s.stage.Install(ctx, stage.Release, append(stage.Canary("v3", "yellow", canaryPercent), stage.Failing(badShare))...); err != nil {
		return err
	}
	if err := s.canary.Follow(ctx); err != nil {
		return fmt.Errorf("%w; backout's log:\n%s", err, readFile(s.backout.Child.Log()))
	}
	s.canary.AddLastBad()
	home()
	<-strolled
	s.bar.Begin(fmt.Sprintf("measuring the split over %d requests", measured))
	walkers := s.stage.Shoppers()
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
	if err := s.stage.Install(ctx, stage.Release, stage.Canary("v2", "green", canaryPercent)...); err != nil {
		return err
	}
	s.bar.Begin("waiting for the pods")
	if err := s.stage.AwaitRollout(ctx); err != nil {
		return err
	}
	if err := s.stage.Shoppers().AwaitOpen(ctx, "v1", "v2"); err != nil {
		return err
	}
	s.bar.Begin(fmt.Sprintf("measuring the split over %d requests", measured))
	s.before = s.stage.Shoppers().Split(ctx, measured)
	return nil
}

// monitor starts backout, Alertmanager and Prometheus.
func (s *scene) monitor(ctx context.Context) (err error) {
	s.bar.Begin("starting backout, Alertmanager and Prometheus")
	if s.backout, err = s.stage.Backout(ctx, 0, stage.QueryPrometheus()); err != nil {
		return err
	}
	s.alertmanager, err = s.stage.Sandbox.Alertmanager(ctx, sandbox.AlertmanagerOptions{
		WebhookURL: s.backout.Inside, TokenFile: s.backout.TokenFile,
	})
	if err != nil {
		return err
	}
	var metrics *sandbox.KubeStateMetrics
	if s.pictures != "" {
		if metrics, err = s.stage.Sandbox.KubeStateMetrics(ctx, sandbox.KubeStateMetricsOptions{}); err != nil {
			return err
		}
	}
	s.began = time.Now()
	s.prometheus, err = s.stage.Prometheus(ctx, stage.Monitoring{
		Alertmanager: s.alertmanager, KubeStateMetrics: metrics, KeepFiring: keepFiring,
	})
	return err
}

func readFile(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// check checks that the story happened as it should.
func (s *scene) check(ctx context.Context) error {
	err := s.canary.Check(ctx, goodRevision)
	if !s.after.Within("v2", canaryPercent/100.0) {
		err = errors.Join(err, fmt.Errorf("after the rollback, v2 does not serve %d%%: %s", canaryPercent, s.after))
	}
	return err
}
