package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/prometheus/promql"
)

// Trial watches a number of canaries for a while.
type Trial struct {
	Population Population
	Canaries   int
	Metrics    Metrics
	// Seed is the seed of everything that is drawn.
	Seed uint64
	// Lasts is the time for which each canary is watched, and History the age of its stable track at the start.
	Lasts, History time.Duration
}

// Outcome is the outcome of one canary.
type Outcome struct {
	Canary Canary
	// Scrape is the interval of its scrapes and of the evaluations.
	Scrape time.Duration
	// Fired is the time from its onset, or of a healthy canary from its start, until each alert first fired.
	Fired map[string]time.Duration
	// Reported is the same for the alerts that only observe.
	Reported map[string]time.Duration
	// Rivals are the new highs of each rival's score.
	Rivals map[string][]rise

	seed uint64
}

// rise is a new high of a score.
type rise struct {
	after time.Duration
	score float64
}

// began returns the time at which every trial starts.
func began() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

// batch is the number of canaries that one Prometheus watches.
const batch = 25

// Run draws the canaries of a trial, three quarters of which are scraped every 15 seconds and the others every 5, and evaluates the rules.
// It calls progress with the number of canaries that are done.
func (t Trial) Run(ctx context.Context, rules Rules, rivals []Rival, progress func(done int)) ([]Outcome, error) {
	outcomes := make([]Outcome, t.Canaries)
	seeds := random(t.Seed)
	for i := range outcomes {
		outcomes[i].seed = seeds.Uint64()
	}
	var (
		mu    sync.Mutex
		done  int
		first error
		wg    sync.WaitGroup
	)
	next := make(chan int)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for from := range next {
				to := min(from+batch, t.Canaries)
				err := t.watch(ctx, rules, rivals, from, outcomes[from:to])
				mu.Lock()
				if first == nil {
					first = err
				}
				done += to - from
				progress(done)
				mu.Unlock()
			}
		})
	}
	for from := 0; from < t.Canaries; from += batch {
		next <- from
	}
	close(next)
	wg.Wait()
	return outcomes, first
}

// random returns a source of random numbers, which depends on the seed only.
func random(seed uint64) *rand.Rand {
	return rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // a simulation has to be repeatable, and keeps no secret
}

// watch fills in the outcomes of canaries; first is the number of the first one.
func (t Trial) watch(ctx context.Context, rules Rules, rivals []Rival, first int, outcomes []Outcome) error {
	p, err := NewPrometheus()
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }()
	scrape := 15 * time.Second
	if first/batch%4 == 3 {
		scrape = 5 * time.Second
	}
	start := began()
	for i := range outcomes {
		o := &outcomes[i]
		src := random(o.seed)
		*o = Outcome{seed: o.seed, Canary: t.Population.Draw(src), Scrape: scrape, Fired: map[string]time.Duration{}, Reported: map[string]time.Duration{}, Rivals: map[string][]rise{}}
		for _, pod := range pods(src, o.Canary, strconv.Itoa(i), t.History) {
			if err := p.store(ctx, start, pod.run(scrape, t.Lasts, t.Metrics)); err != nil {
				return err
			}
		}
	}
	// Before there is a canary, the rules only learn how much the stable pods differ: one evaluation a minute is enough.
	if t.History > 0 {
		if _, err := p.Evaluate(ctx, rules, span{first: start.Add(-t.History), last: start.Add(-time.Minute), every: time.Minute}); err != nil {
			return err
		}
	}
	e, err := p.Evaluate(ctx, rules, span{first: start, last: start.Add(t.Lasts), every: scrape})
	if err != nil {
		return err
	}
	return readOutcomes(start, e, rules, rivals, outcomes)
}

// readOutcomes reads the outcomes of canaries from an evaluation. A canary's label release is its number.
func readOutcomes(start time.Time, e Evaluation, rules Rules, rivals []Rival, outcomes []Outcome) error {
	each := func(m promql.Matrix, f func(o *Outcome, points []promql.FPoint)) error {
		for _, series := range m {
			i, err := strconv.Atoi(series.Metric.Get("release"))
			if err != nil {
				return fmt.Errorf("read the release of %s: %w", series.Metric, err)
			}
			f(&outcomes[i], series.Floats)
		}
		return nil
	}
	for _, r := range rules {
		if r.Alert == "" || r.Labels["backout"] == "" {
			continue // not an alert for backout
		}
		fired := func(o *Outcome) map[string]time.Duration { return o.Fired }
		if r.Labels["backout"] == "observe" {
			fired = func(o *Outcome) map[string]time.Duration { return o.Reported }
		}
		err := each(e[r.Alert], func(o *Outcome, points []promql.FPoint) {
			for _, f := range points {
				after := o.afterOnset(start, f.T)
				if was, ok := fired(o)[r.Alert]; after >= 0 && (!ok || after < was) {
					fired(o)[r.Alert] = after
				}
			}
		})
		if err != nil {
			return err
		}
	}
	for _, r := range rivals {
		err := each(e[r.Record], func(o *Outcome, points []promql.FPoint) { o.readRival(start, r, points) })
		if err != nil {
			return err
		}
	}
	return nil
}

// readRival reads the new highs of a rival's score.
func (o *Outcome) readRival(start time.Time, r Rival, points []promql.FPoint) {
	points = slices.Clone(points)
	if r.Correct != nil {
		for i := range points {
			points[i].F = r.Correct(o.Canary, points[i].F)
		}
	}
	highest := math.Inf(-1)
	for _, f := range r.Patience.scores(points, o.Scrape) {
		if after := o.afterOnset(start, f.T); after >= 0 && f.F > highest {
			highest = f.F
			o.Rivals[r.Name] = append(o.Rivals[r.Name], rise{after, f.F})
		}
	}
}

// afterOnset returns the time from the onset of a bad canary, or from the start of a healthy one, to ms.
func (o *Outcome) afterOnset(start time.Time, ms int64) time.Duration {
	d := time.Duration(ms-start.UnixMilli()) * time.Millisecond
	if o.Canary.Fault == (Fault{}) {
		return d - o.Canary.Begins
	}
	return d - o.Canary.Onset
}
