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

// Signals is what the pods of a run export beside requests: which of them fail, and how long they take. What a run does not look at
// costs it nothing.
type Signals struct{ Errors, Latency bool }

// counter is one counter of a pod, and what Prometheus has stored of it.
type counter struct {
	labels  labels.Labels
	lazy    bool // exported from its first count on, as a labelled counter is
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
	start    time.Duration // after the start of the canary; below zero for pods that have been there
	src      *rand.Rand

	served, failed *counter
	buckets        []*counter
	seconds        *counter
}

// pods are the pods of both tracks of a canary, which is told from others by its release. The stable ones have been there for as
// long as history.
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

// bounds are client_golang's default buckets, in seconds.
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

// live lets the pod serve until end and be scraped, and returns what was stored.
func (p *pod) live(scrape, end time.Duration, s Signals) []*counter {
	counters := []*counter{p.served}
	if s.Errors {
		counters = append(counters, p.failed)
	}
	if s.Latency {
		counters = append(append(counters, p.buckets...), p.seconds)
	}
	last := p.start
	for at := p.start + time.Duration(p.src.Float64()*float64(scrape)); at < end; at += scrape {
		if r := p.canary.Restarts; p.restarts && r > last && r <= at {
			for _, c := range counters {
				c.count = 0
			}
		}
		p.serve(last, at, s)
		last = at
		ok := p.src.Float64() >= missed
		for _, c := range counters {
			if ok {
				c.scrape(at)
			} else {
				c.vanish(at)
			}
		}
	}
	return counters
}

// scrape stores the count; a lazy counter is there from its first count on.
func (c *counter) scrape(at time.Duration) {
	if c.lazy && c.count == 0 {
		c.vanish(at)
		return
	}
	c.store(at, c.count)
	c.exposed = true
}

// vanish stores that there is no count any more.
func (c *counter) vanish(at time.Duration) {
	if c.exposed {
		c.store(at, math.Float64frombits(value.StaleNaN))
		c.exposed = false
	}
}

// serve counts the requests between two times, of which the canary may be bad only in the second part.
func (p *pod) serve(from, to time.Duration, s Signals) {
	if p.isCanary && p.canary.Onset > from && p.canary.Onset < to {
		p.serve(from, p.canary.Onset, s)
		from = p.canary.Onset
	}
	c := p.canary
	if !p.isCanary || from < c.Onset {
		c.Fault = Fault{}
	}
	requests := p.rate * (to - from).Seconds()
	failing := 0.0
	if s.Errors {
		failing = c.errorShare()
	}
	p.failed.count += p.draw(requests*failing, c.Clump)
	p.served.count += p.draw(requests*(1-failing), 1)
	if s.Latency {
		p.time(requests, c)
	}
}

// time counts how long requests take.
func (p *pod) time(requests float64, c Canary) {
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

// draw draws how many requests there are if there are so many on average, and they come in clumps.
func (p *pod) draw(mean float64, clump int) float64 {
	if mean <= 0 {
		return 0
	}
	return float64(clump) * distuv.Poisson{Lambda: mean / float64(clump), Src: p.src}.Rand()
}
