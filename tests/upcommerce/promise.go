package upcommerce

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
	"github.com/upcommerce/backout/tests/progress"
	"github.com/upcommerce/backout/tests/sandbox"
	"github.com/upcommerce/backout/tests/stage"
	"github.com/upcommerce/backout/tests/story"
)

// What the promise is measured with: NoImage is a tag that nobody has pushed, and
// ReadySeconds is what a pod may take to get ready in place of the shipped rules' 300.
const (
	NoImage      = "v9"
	ReadySeconds = 30
	promised     = "Scrapes and evaluations every second; 40 requests a second, a fifth of them to the canary; ready_seconds is 30 instead of 300."
)

// Seconds is what one bad canary cost. Every number but the counts is in seconds
// from the first bad request; where there was none, from the upgrade that brought the
// canary.
type Seconds struct {
	Fault string `yaml:"fault"`
	Alert string `yaml:"alert"`
	// From says what is counted from.
	From       string  `yaml:"counted_from"`
	Firing     float64 `yaml:"alert_firing"`
	Zero       float64 `yaml:"weight_zero"`
	RolledBack float64 `yaml:"rolled_back"`
	// Last is when the last bad request had ended.
	Last     float64 `yaml:"last_bad_request"`
	Bad      int     `yaml:"bad_requests"`
	Requests int     `yaml:"requests"`
}

// fault is one way for a canary to be bad.
type fault struct {
	name string
	// tag is the bad canary's, setting one of the storefront's faults.
	tag, setting string
	spoiled      func(stage.Visit) bool
}

func faults() []fault {
	failed := stage.Visit.Failed
	return []fault{
		{"fails half of its requests", "v3", "FAULT_ERROR_SHARE=0.5", failed},
		{"fails one request of ten", "v3", "FAULT_ERROR_SHARE=0.1", failed},
		{"takes 0.4 s longer for each page", "v3", "FAULT_LATENCY=" + latency.String(), tooSlow},
		{"crashes after five seconds", "v3", "FAULT_CRASH_AFTER=5s", failed},
		{"stops answering", "v3", "FAULT_SILENT=true", failed},
		{"has an image that is not there", NoImage, "", failed},
		{"never gets ready", "v3", "FAULT_NEVER_READY=true", failed},
	}
}

// Places are the namespaces that Promise takes, for backout to be allowed there.
func Places() []string {
	var all []string
	for i := range faults() {
		all = append(all, fmt.Sprintf("fault-%d", i+1))
	}
	return all
}

// Promise has a canary go bad in each way there is, all at once, each in a namespace of
// its own, and measures what each cost until it was backed out.
func Promise(ctx context.Context, st *stage.Stage, p *sandbox.Prometheus, bar *progress.Progress) ([]Seconds, error) {
	bar.Begin(fmt.Sprintf("waiting for %d bad canaries to be backed out", len(faults())))
	all, errs := make([]Seconds, len(faults())), make([]error, len(faults()))
	var running sync.WaitGroup
	var ended atomic.Int32
	for i, f := range faults() {
		shop := faultyShop{fault: f, stage: st, place: st.Place(Places()[i]), prometheus: p}
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

// calm is how long shoppers go on after the weight is back: whoever meets the bad
// canary still would be seen, those too who wait for an answer that never comes.
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

// settled waits until the rules know the canary's traffic and weight for a minute.
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

// upgrade brings the bad canary and returns it as it is to be followed.
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
		Client: s.stage.Client, Timeline: timeline, Shoppers: shoppers, Spoiled: s.spoiled,
		Alerts: func(context.Context) ([]promv1.Alert, error) { return nil, nil }, Until: story.SawRaised,
	}, nil
}

// sum counts what the canary cost.
func (s *faultyShop) sum(ctx context.Context, c *story.Canary) (Seconds, error) {
	record, err := c.Record(ctx)
	if err != nil {
		return Seconds{}, err
	}
	spoils := c.Spoils()
	began, sum := s.upgraded, Seconds{
		Fault: s.name, Alert: record.Accusations[0].Alert, From: "upgrade", Bad: len(spoils), Requests: len(c.Shoppers.Visits()),
	}
	if len(spoils) > 0 {
		began, sum.From = spoils[0].At, "first bad request"
	}
	since := func(at time.Time) float64 { return math.Round(at.Sub(began).Seconds()*1000) / 1000 }
	for _, v := range spoils {
		sum.Last = max(sum.Last, since(v.At.Add(v.Took)))
	}
	for kind, into := range map[string]*float64{story.SawFiring: &sum.Firing, story.SawZero: &sum.Zero, story.SawRolledBack: &sum.RolledBack} {
		m, ok := c.Moments.First(kind)
		if !ok {
			return sum, fmt.Errorf("%s was not seen: %s", kind, record.Summary())
		}
		*into = since(m.At)
	}
	return sum, nil
}
