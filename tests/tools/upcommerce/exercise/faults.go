package exercise

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"

	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
	"github.com/upcommerce/backout/tests/env/progress"
	"github.com/upcommerce/backout/tests/env/sandbox"
	"github.com/upcommerce/backout/tests/env/stage"
	"github.com/upcommerce/backout/tests/env/story"
)

// fault is one way for a canary to be bad.
type fault struct {
	name string
	// tag is the bad canary's, setting the variable of the storefront that sets the fault.
	tag, setting string
	bad          func(stage.Visit) bool
}

func faults() []fault {
	failed := stage.Visit.Failed
	return []fault{
		{"fails half of its requests", "v3", "FAULT_ERROR_SHARE=0.5", failed},
		{"fails one request in ten", "v3", "FAULT_ERROR_SHARE=0.1", failed},
		{"takes 0.4 s longer for each page", "v3", "FAULT_LATENCY=" + latency.String(), tooSlow},
		{"crashes after five seconds", "v3", "FAULT_CRASH_AFTER=5s", failed},
		{"stops answering", "v3", "FAULT_SILENT=true", failed},
		{"has an image that does not exist", NoImage, "", failed},
		{"never becomes ready", "v3", "FAULT_NEVER_READY=true", failed},
	}
}

// FaultNamespaces returns the namespaces that MeasureFaults uses and that backout needs
// to guard.
func FaultNamespaces() []string {
	var all []string
	for i := range faults() {
		all = append(all, fmt.Sprintf("fault-%d", i+1))
	}
	return all
}

// MeasureFaults installs a bad canary of each kind, all at once, each in a namespace of its
// own, and measures the seconds and bad requests until each is rolled back.
func MeasureFaults(ctx context.Context, st *stage.Stage, p *sandbox.Prometheus, bar *progress.Progress) ([]Seconds, error) {
	bar.Begin(fmt.Sprintf("waiting for %d bad canaries to be backed out", len(faults())))
	all, errs := make([]Seconds, len(faults())), make([]error, len(faults()))
	var running sync.WaitGroup
	var ended atomic.Int32
	for i, f := range faults() {
		shop := faultyShop{fault: f, stage: st, place: st.Place(FaultNamespaces()[i]), prometheus: p}
		running.Go(func() {
			if all[i], errs[i] = shop.measure(ctx); errs[i] != nil {
				errs[i] = fmt.Errorf("a canary that %s: %w", f.name, errs[i])
				return
			}
			bar.Begin(fmt.Sprintf("%d of %d bad canaries are backed out", ended.Add(1), len(faults())))
		})
	}
	running.Wait()
	return all, errors.Join(errs...)
}

// faultyShop is a storefront whose canary goes bad.
type faultyShop struct {
	fault
	stage      *stage.Stage
	place      stage.Place
	prometheus *sandbox.Prometheus
	upgraded   time.Time
}

// calm is how long shoppers go on after the weight is restored, so that late bad requests
// count, too, also those that wait for an answer until their time limit.
const calm = 10 * time.Second

func (s *faultyShop) measure(ctx context.Context) (Seconds, error) {
	if err := s.place.Install(ctx, Release, stage.Canary("v2", "green", percent)...); err != nil {
		return Seconds{}, err
	}
	if err := s.place.AwaitRollout(ctx); err != nil {
		return Seconds{}, err
	}
	shoppers := s.place.Shoppers()
	if err := shoppers.AwaitOpen(ctx, "v1", "v2"); err != nil {
		return Seconds{}, err
	}
	strolling, home := context.WithCancel(ctx)
	var out sync.WaitGroup
	out.Go(func() { shoppers.Stroll(strolling, perSecond) })
	defer func() { home(); out.Wait() }()
	if err := s.settled(ctx); err != nil {
		return Seconds{}, err
	}
	canary, err := s.upgrade(ctx, shoppers)
	if err != nil {
		return Seconds{}, err
	}
	if err := canary.Follow(ctx); err != nil {
		return Seconds{}, err
	}
	select {
	case <-ctx.Done():
		return Seconds{}, ctx.Err()
	case <-time.After(calm):
	}
	home()
	out.Wait()
	return s.sum(ctx, canary)
}

// settled waits until the rules have known the canary's traffic and weight for a minute.
func (s *faultyShop) settled(ctx context.Context) error {
	expr := fmt.Sprintf(`canary:weight:min1m{namespace=%q} == %d`, s.place.Namespace, percent)
	return eventually(ctx, func() error {
		found, err := s.prometheus.Query(ctx, expr)
		if err == nil && len(found) == 0 {
			err = fmt.Errorf("the query %s has no answer", expr)
		}
		return err
	})
}

// upgrade installs the bad canary and returns it for following.
func (s *faultyShop) upgrade(ctx context.Context, shoppers *stage.Shoppers) (*story.Canary, error) {
	timeline, err := s.place.Watch(ctx)
	if err != nil {
		return nil, err
	}
	values := stage.Canary(s.tag, "yellow", percent)
	if s.setting != "" {
		values = append(values, "config.canary.env."+s.setting)
	}
	s.upgraded = time.Now()
	if err := s.place.Install(ctx, Release, values...); err != nil {
		return nil, err
	}
	return &story.Canary{
		Key: rollback.Key{Namespace: s.place.Namespace, Release: Release}, Revision: 2,
		Client: s.stage.Client, Timeline: timeline, Shoppers: shoppers, Bad: s.bad,
		Alerts: func(context.Context) ([]promv1.Alert, error) { return nil, nil }, Until: story.SawRestored,
	}, nil
}

// sum returns the seconds and bad requests of the canary.
func (s *faultyShop) sum(ctx context.Context, c *story.Canary) (Seconds, error) {
	record, err := c.Record(ctx)
	if err != nil {
		return Seconds{}, err
	}
	bad := c.BadVisits()
	began, sum := s.upgraded, Seconds{
		Fault: s.name, Alert: record.Signals[0].Alert, From: "upgrade", Bad: len(bad), Requests: len(c.Shoppers.Visits()),
	}
	if len(bad) > 0 {
		began, sum.From = bad[0].At, "first bad request"
	}
	since := func(at time.Time) float64 { return math.Round(at.Sub(began).Seconds()*1000) / 1000 }
	for _, v := range bad {
		sum.Last = max(sum.Last, since(v.At.Add(v.Took)))
	}
	for kind, into := range map[string]*float64{story.SawFiring: &sum.Firing, story.SawZero: &sum.Zero, story.SawRolledBack: &sum.RolledBack} {
		m, ok := c.Moments.First(kind)
		if !ok {
			return sum, fmt.Errorf("%s did not happen: %s", kind, report.Summary(&record))
		}
		*into = since(m.At)
	}
	return sum, nil
}
