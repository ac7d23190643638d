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
	restarts bool
	rate     float64       // requests a second
	start    time.Duration // relative to the start of the trial; negative for the stable pods
	src      *rand.Rand

	served, failed *counter
	buckets        []*counter
	seconds        *counter
}

// pods returns the pods of both tracks of a canary, whose label release is release. The stable ones are as old as history.
func pods(src *rand.Rand, c Canary, release string, history time.Duration) []*pod {
	var all []*pod
	for i := range c.StablePods + c.CanaryPods {
		p := &pod{canary: c, src: src, start: -history, rate: c.Rate * (1 - c.Share) / c.Share / float64(c.StablePods)}
		track, version := "stable", "v1"
		if i >= c.StablePods {
			p.isCanary, p.start, p.rate = true, c.Begins, c.Rate/float64(c.CanaryPods)
			track, version = "canary", "v2"
		}
		p.restarts = c.Restarts > 0 && (i == 0 || i == c.StablePods)
		p.export(labels.FromStrings("namespace", "shop", "release", release, "app", "shop", "track", track, "version", version,
			"pod", "pod-"+strconv.Itoa(i)))
		all = append(all, p)
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
	p.seconds = &counter{labels: labels.NewBuilder(target).Set(model.MetricNameLabel, "http_request_duration_seconds_sum").Labels()}
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
	last := p.start
	for at := p.start + time.Duration(p.src.Float64()*float64(scrape)); at < end; at += scrape {
		if r := p.canary.Restarts; p.restarts && r > last && r <= at {
			for _, c := range counters {
				c.count = 0
			}
		}
		p.serve(last, at, m)
		last = at
		ok := p.src.Float64() >= missed
		for _, c := range counters {
			if ok {
				c.scrape(at)
			} else {
				c.markStale(at)
			}
		}
	}
	return counters
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

// serve counts the requests between two times; the canary may turn bad in between.
func (p *pod) serve(from, to time.Duration, m Metrics) {
	if p.isCanary && p.canary.Onset > from && p.canary.Onset < to {
		p.serve(from, p.canary.Onset, m)
		from = p.canary.Onset
	}
	c := p.canary
	if !p.isCanary || from < c.Onset {
		c.Fault = Fault{}
	}
	requests := p.rate * (to - from).Seconds()
	failing := 0.0
	if m.Errors {
		failing = c.errorShare()
	}
	p.failed.count += p.draw(requests*failing, c.Clump)
	p.served.count += p.draw(requests*(1-failing), 1)
	if m.Latency {
		p.countDurations(requests, c)
	}
}

// countDurations counts requests by their durations.
func (p *pod) countDurations(requests float64, c Canary) {
	var below, spent, sum float64
	for i, b := range bounds() {
		d := time.Duration(math.MaxInt64)
		if !math.IsInf(b, 1) {
			d = time.Duration(b * float64(time.Second))
		}
		upTo, in := c.below(d)
		if n := p.draw(requests*(upTo-below), c.Clump); n > 0 {
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
