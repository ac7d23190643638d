package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
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

// story is one run of the demo.
type story struct {
	stage *stage.Stage
	bar   *progress.Progress
	out   io.Writer

	backout      *stage.Backout
	alertmanager *sandbox.Alertmanager
	timeline     *stage.Timeline
	fired        time.Time
}

// play returns nil only if everything happened, in the right order.
func (s *story) play(ctx context.Context) error {
	if err := s.prepare(ctx); err != nil {
		return err
	}
	s.bar.Begin("firing an alert about v3 at Alertmanager")
	s.bar.End()
	fmt.Fprintf(s.out, "\n%12s  %-10s %s\n", "seconds", "", "what was seen, counted from the alert")
	s.fired = time.Now()
	s.line(s.fired, "alert", "CanaryErrors{backout=rollback, release=canary-demo, version=v3} posted to Alertmanager")
	err := s.alertmanager.Fire(ctx, sandbox.Alert{
		Labels: map[string]string{
			"alertname": "CanaryErrors", "severity": "critical", "backout": "rollback",
			"namespace": stage.Namespace, "release": stage.Release, "version": "v3",
		},
		Annotations: map[string]string{"summary": "half of the canary's requests fail"},
		StartsAt:    s.fired,
	})
	if err != nil {
		return err
	}
	return s.watch(ctx)
}

// prepare runs backout and Alertmanager, installs v2 and upgrades to v3.
func (s *story) prepare(ctx context.Context) (err error) {
	s.bar.Begin("starting backout")
	if s.backout, err = s.stage.Backout(ctx, 0, nil); err != nil {
		return err
	}
	s.alertmanager, err = s.stage.Sandbox.Alertmanager(ctx, sandbox.AlertmanagerOptions{
		WebhookURL: s.backout.Inside, TokenFile: s.backout.TokenFile,
	})
	if err != nil {
		return err
	}
	s.bar.Begin("helm: installing canary-demo, v2 at 20%")
	if err := s.stage.Install(ctx, stage.Release, stage.Canary("v2", "green", 20)...); err != nil {
		return err
	}
	s.bar.Begin("helm: upgrading the canary to v3")
	if err := s.stage.Install(ctx, stage.Release, stage.Canary("v3", "yellow", 20)...); err != nil {
		return err
	}
	s.timeline, err = s.stage.Watch(ctx)
	return err
}

// watch shows each event when the API server tells of it, until backout has
// noted that the rollback is done.
func (s *story) watch(ctx context.Context) error {
	for i := 0; ; i++ {
		e, err := s.timeline.Next(ctx, i)
		if err != nil {
			return fmt.Errorf("not everything happened within %s: %w; backout's log:\n%s",
				playLimit, err, readFile(s.backout.Child.Log()))
		}
		if e.Kind == stage.SawRecord {
			record, err := s.record(ctx)
			if err != nil {
				return err
			}
			s.line(record.Accusations[0].Received, "webhook", "Alertmanager's post reached backout")
		}
		s.event(e)
		if e.Kind == stage.SawRevision && e.Value == backToRevision {
			break
		}
	}
	for !s.finished(ctx) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the record to tell of the rollback: %w", ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
	return s.judge(ctx)
}

// finished reports whether backout has noted in its record that the rollback is
// done.
func (s *story) finished(ctx context.Context) bool {
	r, err := s.record(ctx)
	return err == nil && r.Rollback.Finished()
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

// judge checks that what was seen is the story: zero before the rollback, never
// above it again, and the right revision made once.
func (s *story) judge(ctx context.Context) error {
	var errs []error
	var zero, made time.Time
	for _, e := range s.timeline.Events() {
		switch {
		case e.Kind == stage.SawWeight && e.Value == "0":
			zero = e.At
		case e.Kind == stage.SawWeight:
			errs = append(errs, fmt.Errorf("the canary got its weight of %s back, but no pod of v2 is ready here", e.Value))
		case e.Kind == stage.SawRevision && e.Value == backToRevision:
			made = e.At
		}
	}
	if zero.IsZero() || made.Before(zero) {
		errs = append(errs, errors.New("the canary's weight was not zero before the rollback was done"))
	}
	r, err := s.record(ctx)
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	if !r.Rollback.Succeeded() || r.Target != goodRevision {
		errs = append(errs, fmt.Errorf("the record does not tell of a rollback to revision %d: %s", goodRevision, r.Summary()))
	}
	return errors.Join(errs...)
}

func readFile(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
