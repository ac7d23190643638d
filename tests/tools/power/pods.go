package main

import (
	"math"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/value"
	"gonum.org/v1/gonum/stat/distuv"
)

// missed is the share of scrapes that fail.
const missed = 0.002

// Metrics are the metrics that pods export besides the number of requests: failed requests and durations. A trial simulates only those
// that it measures.
type Metrics struct{ Errors, Latency bool }

// counter is one counter of a pod, and the samples of it that Prometheus has stored.
type counter struct {
	labels  labels.Labels
	lazy    bool // not exported before its first count, like a counter with labels
	count   float64
	exposed bool

	times  []int64 // milliseconds after the start of the canary
	values []float64
}

func (c *counter) store(at time.Duration, v float64) {
	c.times = append(c.times, at.Milliseconds())
	c.values = append(c.values, v)
}

// pod counts its requests and is scraped.
type pod struct {
	canary   Canary
	isCanary bool
	first    bool          // of its track
	epoch    float64       // Unix seconds of the start of the trial
	rate     float64       // requests a second
	start    time.Duration // of its process, relative to the start of the trial; negative for the stable pods
	restarts time.Duration // 0: never
	src      *rand.Rand

	served, failed *counter
	buckets        []*counter
	seconds        *counter
	up, started    *counter
}

// pods returns the pods of both tracks of a canary, whose label release is release. The stable ones are as old as history.
func pods(src *rand.Rand, c Canary, release string, history time.Duration) []*pod {
	var all []*pod
	add := func(track, version string, p *pod) {
		p.canary, p.src, p.isCanary = c, src, track == "canary"
		p.epoch = float64(began().Unix())
		p.export(labels.FromStrings("namespace", "shop", "release", release, "app", "shop", "track", track, "version", version,
			"pod", release+"-"+strconv.Itoa(len(all))))
		all = append(all, p)
	}
	stableRate := c.Rate * (1 - c.Share) / c.Share / float64(c.StablePods)
	canaryRate := c.Rate / float64(c.CanaryPods)
	for i := range c.StablePods {
		p := &pod{start: -history, rate: stableRate}
		if i == 0 {
			p.restarts = c.Restarts
			if c.Life.Restarts {
				p.restarts = c.chance.restarts
			}
		}
		add("stable", "v1", p)
	}
	for i := range c.CanaryPods {
		p := &pod{start: c.Begins, rate: canaryRate, first: i == 0}
		if i == 0 {
			p.restarts = c.Restarts
		}
		add("canary", "v2", p)
	}
	if c.Life.Grows {
		add("stable", "v1", &pod{start: c.chance.grows, rate: stableRate})
		add("canary", "v2", &pod{start: c.chance.grows, rate: canaryRate})
	}
	return all
}

// bounds returns client_golang's default buckets, in seconds.
func bounds() []float64 {
	return []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, math.Inf(1)}
}

func (p *pod) export(target labels.Labels) {
	series := func(name, label, v string) labels.Labels {
		return labels.NewBuilder(target).Set(model.MetricNameLabel, name).Set(label, v).Labels()
	}
	p.served = &counter{labels: series("http_requests_total", "code", "200"), lazy: true}
	p.failed = &counter{labels: series("http_requests_total", "code", "500"), lazy: true}
	for _, b := range bounds() {
		le := labels.FormatOpenMetricsFloat(b)
		p.buckets = append(p.buckets, &counter{labels: series("http_request_duration_seconds_bucket", "le", le)})
	}
	plain := func(name string) *counter {
		return &counter{labels: labels.NewBuilder(target).Set(model.MetricNameLabel, name).Labels()}
	}
	p.seconds, p.up, p.started = plain("http_request_duration_seconds_sum"), plain("up"), plain("process_start_time_seconds")
}

// run lets the pod serve and be scraped until end, and returns the stored counters.
func (p *pod) run(scrape, end time.Duration, m Metrics) []*counter {
	counters := []*counter{p.served}
	if m.Errors {
		counters = append(counters, p.failed)
	}
	if m.Latency {
		counters = append(append(counters, p.buckets...), p.seconds)
	}
	p.up.count = 1
	last := p.start
	for at := p.start + time.Duration(p.src.Float64()*float64(scrape)); at < end; at += scrape {
		if r := p.restarts; r > last && r <= at {
			for _, c := range counters {
				c.count = 0
			}
			p.start = last
		}
		p.started.count = p.epoch + p.start.Seconds()
		p.serve(last, at, m)
		last = at
		ok := p.src.Float64() >= missed
		for _, c := range append([]*counter{p.up, p.started}, counters...) {
			if ok {
				c.scrape(at)
			} else {
				c.markStale(at)
			}
		}
	}
	return append(counters, p.up, p.started)
}

// scrape stores the count; a lazy counter has none before its first count.
func (c *counter) scrape(at time.Duration) {
	if c.lazy && c.count == 0 {
		c.markStale(at)
		return
	}
	c.store(at, c.count)
	c.exposed = true
}

// markStale ends the series of an exposed counter with a staleness marker.
func (c *counter) markStale(at time.Duration) {
	if c.exposed {
		c.store(at, math.Float64frombits(value.StaleNaN))
		c.exposed = false
	}
}

// serve counts the requests between two times. A pod that has just started, and one whose canary has a life, may change in between.
func (p *pod) serve(from, to time.Duration, m Metrics) {
	for from < to {
		step := min(to, from+p.same(from-p.start))
		if onset := p.canary.Onset; p.isCanary && onset > from && onset < step {
			step = onset
		}
		p.count(from, step, m)
		from = step
	}
}

// same returns for how long a pod of that age is the same.
func (p *pod) same(age time.Duration) time.Duration {
	l := p.canary.Life
	switch {
	case (l.Cold.Slower != nil || l.Cold.Fails != nil) && age < 3*time.Minute:
		return max(time.Second/4, age/8)
	case l.Outage != (Outage{}) || l.Peak > 0:
		return time.Second
	}
	return math.MaxInt64 / 2
}

// count counts the requests between two times in which the pod is the same.
func (p *pod) count(from, to time.Duration, m Metrics) {
	middle := from + (to-from)/2
	now := moment{at: middle, age: (middle - p.start).Seconds(), isCanary: p.isCanary}
	requests := p.rate * (to - from).Seconds()
	if p.canary.Life.Peak > 0 && during(middle, p.canary.chance.peak, peak) {
		requests *= p.canary.Life.Peak
	}
	failing := 0.0
	if m.Errors {
		failing = p.canary.errorShare(now)
	}
	p.failed.count += p.draw(requests*failing, p.canary.Clump)
	p.served.count += p.draw(requests*(1-failing), 1)
	if p.isCanary && p.first {
		for _, at := range p.canary.chance.bursts {
			if at >= from && at < to {
				p.failed.count += float64(p.canary.Life.Bursts.Size)
			}
		}
	}
	if m.Latency {
		p.countDurations(requests, p.canary.durations(now))
	}
}

// countDurations counts requests by their durations.
func (p *pod) countDurations(requests float64, parts []part) {
	var below, spent, sum float64
	for i, b := range bounds() {
		d := time.Duration(math.MaxInt64)
		if !math.IsInf(b, 1) {
			d = time.Duration(b * float64(time.Second))
		}
		upTo, in := p.canary.below(parts, d)
		if n := p.draw(requests*(upTo-below), p.canary.Clump); n > 0 {
			sum += n
			p.seconds.count += n * (in - spent) / (upTo - below)
		}
		p.buckets[i].count += sum
		below, spent = upTo, in
	}
}

// draw draws a number of requests with the given mean, in clumps.
func (p *pod) draw(mean float64, clump int) float64 {
	if mean <= 0 {
		return 0
	}
	return float64(clump) * distuv.Poisson{Lambda: mean / float64(clump), Src: p.src}.Rand()
}
