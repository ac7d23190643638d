package main

import (
	"context"
	"fmt"
	"io"
	"time"
)

// measurement measures rules and prints tables.
type measurement struct {
	rules    Rules
	sets     map[string]Set
	column   string // only columns whose name contains it
	seed     uint64
	scale    float64
	out      io.Writer
	progress io.Writer
	began    time.Time
}

// fault is a Fault and its name in a table.
type fault struct {
	name  string
	fault Fault
}

// comparison compares the shipped rules with rivals, on the same canaries.
type comparison struct {
	title    string
	metrics  Metrics
	rivals   []Rival
	faults   []fault
	healthy  map[int]int // the number of healthy canaries, by the size of clumps
	each     int         // the number of bad canaries for each fault
	outcomes map[int][]Outcome
	mixed    []Outcome   // of healthy canaries of every kind
	bad      [][]Outcome // by fault
}

// watched is the time for which a canary is watched, and the age of its stable track at the start.
const watched = 30 * time.Minute

// errors measures failing requests.
func (m *measurement) errors(ctx context.Context) error {
	d := comparison{title: "Errors", metrics: Metrics{Errors: true}, rivals: errorRivals(), healthy: map[int]int{1: 2500, 3: 1000, 10: 500}, each: 150}
	for _, share := range []float64{0.03, 0.05, 0.1, 0.25, 0.5, 1} {
		d.faults = append(d.faults, fault{fmt.Sprintf("%.0f%% fail", 100*share), Fault{Errors: share}})
	}
	return m.compare(ctx, &d)
}

// latency measures slow requests.
func (m *measurement) latency(ctx context.Context) error {
	d := comparison{title: "Latency", metrics: Metrics{Latency: true}, rivals: latencyRivals(), healthy: map[int]int{1: 500, 3: 200, 10: 200}, each: 50}
	for _, times := range []float64{1.5, 2, 4} {
		d.faults = append(d.faults, fault{fmt.Sprintf("all take %.1f times as long", times), Fault{Slower: times}})
	}
	for _, share := range []float64{0.05, 0.1, 0.3} {
		d.faults = append(d.faults, fault{fmt.Sprintf("%.0f%% take %d times as long", 100*share, stuckFor), Fault{Stuck: share}})
	}
	return m.compare(ctx, &d)
}

// hour watches some healthy canaries for an hour, with all alerts.
func (m *measurement) hour(ctx context.Context) error {
	t := Trial{
		Population: Population{Clumps: []int{1}}, Canaries: m.scaled(60), Metrics: Metrics{Errors: true, Latency: true},
		Seed: m.next(), Lasts: time.Hour, History: watched,
	}
	outcomes, err := m.run(ctx, "an hour of healthy canaries", t, nil)
	if err != nil {
		return err
	}
	fmt.Fprintf(m.out, "An hour of %d healthy canaries, errors and latency together, all alerts: they fired for %d.\n", len(outcomes), alarms(outcomes))
	return nil
}

// next returns the seed of the next trial.
func (m *measurement) next() uint64 {
	m.seed++
	return m.seed
}

func (m *measurement) scaled(n int) int { return max(4*batch, int(float64(n)*m.scale)) }

// run runs a trial and shows its progress.
func (m *measurement) run(ctx context.Context, what string, t Trial, rivals []Rival) ([]Outcome, error) {
	shown := time.Now()
	return t.Run(ctx, m.rules, rivals, func(done int) {
		if done == t.Canaries || time.Since(shown) > 10*time.Second {
			shown = time.Now()
			fmt.Fprintf(m.progress, "%6.1fs  %s: %d of %d canaries\n", time.Since(m.began).Seconds(), what, done, t.Canaries)
		}
	})
}

// compare runs the healthy canaries of a comparison and then the bad ones.
func (m *measurement) compare(ctx context.Context, d *comparison) error {
	d.outcomes = map[int][]Outcome{}
	for _, clump := range []int{1, 3, 10} {
		t := Trial{
			Population: Population{Clumps: []int{clump}}, Canaries: m.scaled(d.healthy[clump]), Metrics: d.metrics,
			Seed: m.next(), Lasts: watched, History: watched,
		}
		outcomes, err := m.run(ctx, fmt.Sprintf("%s, healthy, clumps of %d", d.title, clump), t, d.rivals)
		if err != nil {
			return err
		}
		d.outcomes[clump] = outcomes
	}
	for _, c := range columns() {
		if c.metrics != d.metrics {
			continue
		}
		outcomes, err := m.run(ctx, fmt.Sprintf("%s, healthy, %s", d.title, c.name), c.trial(m.scaled(d.each), m.next()), d.rivals)
		if err != nil {
			return err
		}
		d.mixed = append(d.mixed, outcomes...)
	}
	d.printHealthy(m.out)
	d.bad = make([][]Outcome, len(d.faults))
	for i, f := range d.faults {
		t := Trial{
			Population: Population{Clumps: []int{1}, Fault: f.fault}, Canaries: m.scaled(d.each), Metrics: d.metrics,
			Seed: m.next(), Lasts: watched + 5*time.Minute, History: watched,
		}
		outcomes, err := m.run(ctx, d.title+", "+f.name, t, d.rivals)
		if err != nil {
			return err
		}
		d.bad[i] = outcomes
	}
	d.printBad(m.out)
	return nil
}
