package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/tests/progress"
	"github.com/upcommerce/backout/tests/sandbox"
	"github.com/upcommerce/backout/tests/stage"
)

// The story's revisions: v2 is installed, v3 is bad, and backout's rollback is
// the third.
const (
	goodRevision   = 1
	badRevision    = 2
	backToRevision = "3 deployed"
)

// The shoppers, and the share of the bad canary's requests that fails.
const (
	shoppersPerSecond = 50
	canaryPercent     = 20
	badShare          = 0.5
	measured          = 1000
)

// story is one run of the demo.
type story struct {
	stage *stage.Stage
	bar   *progress.Progress
	out   io.Writer
	// pictures is the folder for pictures, "" if none are taken.
	pictures string

	backout      *stage.Backout
	alertmanager *sandbox.Alertmanager
	prometheus   *sandbox.Prometheus
	shoppers     *stage.Shoppers
	timeline     *stage.Timeline

	// began is since when Prometheus looks.
	began         time.Time
	before, after stage.Split
	moments       moments
}

// play returns nil only if everything happened, in the right order.
func (s *story) play(ctx context.Context) error {
	if err := s.prepare(ctx); err != nil {
		return err
	}
	s.bar.End()
	fmt.Fprintf(s.out, "\nv1 is stable, v2 the canary with %d%% of the traffic.\n  %s\n", canaryPercent, s.before)
	if !s.before.Within("v2", canaryPercent/100.0) {
		return fmt.Errorf("the split is not %d:%d", 100-canaryPercent, canaryPercent)
	}
	fmt.Fprintf(s.out, "\nNow v3 becomes the canary; it fails half of its requests. %d requests a second go on.\n\n", shoppersPerSecond)

	strolling, home := context.WithCancel(ctx)
	defer home()
	strolled := make(chan struct{})
	go func() {
		defer close(strolled)
		s.shoppers.Stroll(strolling, shoppersPerSecond)
	}()
	if err := s.stage.Install(ctx, stage.Release, append(stage.Canary("v3", "yellow", canaryPercent), stage.Failing(badShare))...); err != nil {
		return err
	}
	if err := s.watch(ctx); err != nil {
		return err
	}
	home()
	<-strolled
	s.bar.Begin(fmt.Sprintf("measuring the split over %d requests", measured))
	walkers := s.stage.Shoppers()
	if err := walkers.AwaitOpen(ctx, "v2"); err != nil {
		return err
	}
	s.after = walkers.Split(ctx, measured)
	s.bar.End()
	return s.judge(ctx)
}

// prepare installs v1 and v2, waits for their pods, and measures the split.
func (s *story) prepare(ctx context.Context) (err error) {
	s.bar.Begin("starting backout")
	if s.backout, err = s.stage.Backout(ctx, 0, stage.AskPrometheus()); err != nil {
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
	if s.prometheus, err = s.stage.Prometheus(ctx, s.alertmanager, metrics); err != nil {
		return err
	}
	s.bar.Begin("helm: installing canary-demo, v1 with the canary v2")
	if err := s.stage.Install(ctx, stage.Release, stage.Canary("v2", "green", canaryPercent)...); err != nil {
		return err
	}
	s.bar.Begin("waiting for the pods")
	if err := s.stage.AwaitRollout(ctx); err != nil {
		return err
	}
	s.shoppers = s.stage.Shoppers()
	if err := s.shoppers.AwaitOpen(ctx, "v1", "v2"); err != nil {
		return err
	}
	s.bar.Begin(fmt.Sprintf("measuring the split over %d requests", measured))
	s.before = s.stage.Shoppers().Split(ctx, measured)
	s.timeline, err = s.stage.Watch(ctx)
	return err
}

// judge checks that what was seen is the story.
func (s *story) judge(ctx context.Context) error {
	var errs []error
	zero, zeroed := s.moments.first(sawZero)
	made, rolledBack := s.moments.first(sawRolledBack)
	if !zeroed || !rolledBack || made.at.Before(zero.at) {
		errs = append(errs, errors.New("the canary's weight was not zero before the rollback was done"))
	}
	for _, v := range s.shoppers.Visits() {
		switch {
		case !v.Failed():
		case v.Backend != stage.CanaryService:
			errs = append(errs, fmt.Errorf("a shopper's request failed that was not the bad canary's: %s", v))
		case zeroed && v.At.After(zero.at.Add(time.Second)):
			errs = append(errs, fmt.Errorf("a request reached the bad canary a second after its weight was zero: %s", v))
		}
	}
	if !s.after.Within("v2", canaryPercent/100.0) {
		errs = append(errs, fmt.Errorf("v2 does not serve %d%% again: %s", canaryPercent, s.after))
	}
	r, err := s.record(ctx)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	if !r.Rollback.Succeeded() || r.Target != goodRevision || !r.Raise.Succeeded() {
		errs = append(errs, fmt.Errorf("the record does not tell of a rollback to revision %d: %s", goodRevision, r.Summary()))
	}
	if r.Outcome != rollback.Recovered {
		errs = append(errs, fmt.Errorf("backout does not call it recovered but %q: %s", r.Outcome, r.Summary()))
	}
	return errors.Join(errs...)
}

// record returns the record about v3's revision.
func (s *story) record(ctx context.Context) (rollback.Record, error) {
	records, err := s.backout.Records(ctx, stage.Release)
	if err != nil {
		return rollback.Record{}, err
	}
	for _, r := range records {
		if r.Revision == badRevision {
			return r, nil
		}
	}
	return rollback.Record{}, fmt.Errorf("backout has no record about revision %d", badRevision)
}
