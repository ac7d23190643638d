package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"strconv"
	"time"

	"github.com/prometheus/prometheus/model/value"
)

// Sample is a small population as a file: the samples that Prometheus would store, and the outcome of its own evaluation. tests/tools/engines
// gives the same samples to other engines.
type Sample struct {
	// First and Last are the first and the last evaluation, Every the time between two, in milliseconds.
	First, Last, Every int64
	// Canaries describe the canaries. A canary's label release is its index.
	Canaries []string
	Series   []SampleSeries
	// Fired are the times at which each alert fires for each canary for the first time, by alert and release.
	Fired map[string]map[string]int64
}

// SampleSeries is a series of a Sample: its samples' times in milliseconds, and their values. A value of nil ends the series.
type SampleSeries struct {
	Labels map[string]string
	Times  []int64
	Values []*float64
}

const (
	sampleEvery   = 15 * time.Second
	sampleHistory = 5 * time.Minute
	sampleLasts   = 10 * time.Minute
	sampleSeed    = 7
)

// writeSample draws the sample, evaluates the rules of a file and writes both.
func writeSample(ctx context.Context, rules, to string) error {
	all, err := LoadRules(rules)
	if err != nil {
		return err
	}
	p, err := NewPrometheus()
	if err != nil {
		return err
	}
	defer func() { _ = p.Close() }()
	first, last := began().Add(-sampleHistory), began().Add(sampleLasts)
	s := Sample{First: first.UnixMilli(), Last: last.UnixMilli(), Every: sampleEvery.Milliseconds(), Fired: map[string]map[string]int64{}}
	if err := s.draw(ctx, p); err != nil {
		return err
	}
	e, err := p.Evaluate(ctx, all, span{first: first, last: last, every: sampleEvery})
	if err != nil {
		return err
	}
	s.fire(all, e)
	b, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("encode the sample: %w", err)
	}
	if err := os.WriteFile(to, b, 0o600); err != nil {
		return fmt.Errorf("write the sample: %w", err)
	}
	return nil
}

// draw draws canaries, healthy and bad, that are scraped every second, every 5 and every 15, some of whose pods restart, and stores them.
func (s *Sample) draw(ctx context.Context, p *Prometheus) error {
	kinds := []fault{
		{"healthy", Fault{}},
		{"healthy", Fault{}},
		{"4% fail", Fault{Errors: 0.04}},
		{"10% fail", Fault{Errors: 0.1}},
		{"50% fail", Fault{Errors: 0.5}},
		{"100% fail", Fault{Errors: 1}},
		{"1.5 times as slow", Fault{Slower: 1.5}},
		{"4 times as slow", Fault{Slower: 4}},
		{"20% stuck", Fault{Stuck: 0.2}},
	}
	for _, scrape := range []time.Duration{time.Second, 5 * time.Second, 15 * time.Second} {
		for _, kind := range kinds {
			release := strconv.Itoa(len(s.Canaries))
			src := random(sampleSeed + uint64(len(s.Canaries)))
			c := Population{Clumps: []int{1, 3}, Fault: kind.fault}.Draw(src)
			c.Rate, c.Share, c.Restarts = 20, 0.2, 0
			if len(s.Canaries)%3 == 0 {
				c.Restarts = 7 * time.Minute
			}
			s.Canaries = append(s.Canaries, fmt.Sprintf("%s, scraped every %s", kind.name, scrape))
			for _, pod := range pods(src, c, release, sampleHistory) {
				counters := pod.run(scrape, sampleLasts, Metrics{Errors: true, Latency: true})
				if err := p.store(ctx, began(), counters); err != nil {
					return err
				}
				s.add(counters)
			}
		}
	}
	return nil
}

func (s *Sample) add(counters []*counter) {
	for _, c := range counters {
		series := SampleSeries{Labels: c.labels.Map()}
		for i, t := range c.times {
			v := &c.values[i]
			if math.Float64bits(*v) == value.StaleNaN {
				v = nil
			}
			series.Times = append(series.Times, began().UnixMilli()+t)
			series.Values = append(series.Values, v)
		}
		s.Series = append(s.Series, series)
	}
}

// fire notes when each alert fires.
func (s *Sample) fire(all Rules, e Evaluation) {
	for _, r := range all {
		if r.Alert == "" {
			continue
		}
		fired := map[string]int64{}
		for _, series := range e[r.Alert] {
			if len(series.Floats) == 0 {
				continue
			}
			release, at := series.Metric.Get("release"), series.Floats[0].T
			if was, ok := fired[release]; !ok || at < was {
				fired[release] = at
			}
		}
		s.Fired[r.Alert] = fired
	}
}
