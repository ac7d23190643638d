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

// Trial is a number of canaries that are watched for a while.
type Trial struct {
	Population Population
	Canaries   int
	Signals    Signals
	// Seed decides everything that is drawn.
	Seed uint64
	// Lasts is how long each canary lasts, History how long its stable track has been there.
	Lasts, History time.Duration
}

// Outcome is what became of one canary.
type Outcome struct {
	Canary Canary
	// Scrape is how often it was scraped, and the rules evaluated.
	Scrape time.Duration
	// Fired is how long after its onset each alert fired first. For healthy canaries, whose onset does not matter, after their start.
	Fired map[string]time.Duration
	// Rivals is, for each rival, when its score rose, and to what.
	Rivals map[string][]rise

	seed uint64
}

// rise is a new height of a score.
type rise struct {
	after time.Duration
	score float64
}

// world is how many canaries one Prometheus watches.
const world = 25

// Run draws the canaries of a trial, three quarters of which are scraped every 15 seconds and the others every 5, and evaluates rules over them.
// progress is told how many are done.
func (t Trial) Run(ctx context.Context, rules Rules, rivals []Rival, progress func(done int)) ([]Outcome, error) {
	outcomes := make([]Outcome, t.Canaries)
	seeds := draws(t.Seed)
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
				to := min(from+world, t.Canaries)
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
	for from := 0; from < t.Canaries; from += world {
		next <- from
	}
	close(next)
	wg.Wait()
	return outcomes, first
}

// draws is a source of random numbers, always the same for a seed.
func draws(seed uint64) *rand.Rand {
	return rand.New(rand.NewPCG(seed, 0)) //nolint:gosec // a simulation has to be repeatable, and keeps no secret
}

// watch fills outcomes with what becomes of the canaries, of which the first has that number.
func (t Trial) watch(ctx context.Context, rules Rules, rivals []Rival, first int, outcomes []Outcome) error {
	p, err := NewPrometheus()
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }()
	scrape := 15 * time.Second
	if first/world%4 == 3 {
		scrape = 5 * time.Second
	}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range outcomes {
		o := &outcomes[i]
		src := draws(o.seed)
		*o = Outcome{seed: o.seed, Canary: t.Population.Draw(src), Scrape: scrape, Fired: map[string]time.Duration{}, Rivals: map[string][]rise{}}
		for _, pod := range pods(src, o.Canary, strconv.Itoa(i), t.History) {
			if err := p.store(ctx, start, pod.live(scrape, t.Lasts, t.Signals)); err != nil {
				return err
			}
		}
	}
	// Before there is a canary, the rules only learn how much the stable pods differ: once a minute is enough, and sooner done.
	if t.History > 0 {
		if _, err := p.Evaluate(ctx, rules, span{first: start.Add(-t.History), last: start.Add(-time.Minute), every: time.Minute}); err != nil {
			return err
		}
	}
	e, err := p.Evaluate(ctx, rules, span{first: start, last: start.Add(t.Lasts), every: scrape})
	if err != nil {
		return err
	}
	return judge(start, e, rules, rivals, outcomes)
}

// judge reads from an evaluation what became of the canaries, whose releases are their numbers.
func judge(start time.Time, e Evaluation, rules Rules, rivals []Rival, outcomes []Outcome) error {
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
			continue // accuses nobody
		}
		err := each(e[r.Alert], func(o *Outcome, points []promql.FPoint) {
			for _, f := range points {
				after := o.since(start, f.T)
				if was, ok := o.Fired[r.Alert]; after >= 0 && (!ok || after < was) {
					o.Fired[r.Alert] = after
				}
			}
		})
		if err != nil {
			return err
		}
	}
	for _, r := range rivals {
		err := each(e[r.Record], func(o *Outcome, points []promql.FPoint) {
			points = slices.Clone(points)
			if r.Knows != nil {
				for i := range points {
					points[i].F = r.Knows(o.Canary, points[i].F)
				}
			}
			highest := math.Inf(-1)
			for _, f := range r.Patience.scores(points, o.Scrape) {
				if after := o.since(start, f.T); after >= 0 && f.F > highest {
					highest = f.F
					o.Rivals[r.Name] = append(o.Rivals[r.Name], rise{after, f.F})
				}
			}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// since is how long after the onset of a bad canary, or after the start of a healthy one, a time is.
func (o *Outcome) since(start time.Time, ms int64) time.Duration {
	d := time.Duration(ms-start.UnixMilli()) * time.Millisecond
	if o.Canary.Fault == (Fault{}) {
		return d - o.Canary.Begins
	}
	return d - o.Canary.Onset
}
