package main

import (
	"math"
	"math/rand/v2"
	"time"
)

// Canary is a canary and its stable track: what both have in common, and the canary's fault, if it has one.
type Canary struct {
	// Errors is the share of requests that fail on both tracks.
	Errors float64
	// Rate is the number of requests per second that the canary gets, and Share their share of all requests.
	Rate, Share float64
	// StablePods and CanaryPods are the numbers of pods, which share the requests of their track evenly.
	StablePods, CanaryPods int
	// Clump is the number of requests that fail together, as when one connection breaks.
	Clump int
	// Latency is the distribution of the durations of requests on both tracks.
	Latency Lognormal
	// Begins is the start of the canary's pods, and Onset the time at which it turns bad; both count from the start of the trial.
	Begins, Onset time.Duration
	// Fault is the canary's fault from Onset on.
	Fault Fault
	// Restarts is the time at which one pod of each track restarts, with its counters at zero; 0 means never.
	Restarts time.Duration
	// Life is how it differs without being bad.
	Life   Life
	chance chance
}

// Fault is the difference between a canary and the stable track. The zero Fault is no difference.
type Fault struct {
	// Errors is the share of requests that fail because of the fault.
	Errors float64
	// Slower is the factor by which every request takes longer; 0 means no change.
	Slower float64
	// Stuck is the share of requests that take stuckFor times as long as the others.
	Stuck float64
}

// stuckFor is the factor by which stuck requests take longer.
const stuckFor = 20

// Lognormal is a lognormal distribution of latencies.
type Lognormal struct {
	Median time.Duration
	Sigma  float64
}

// Below returns the share of requests that take at most d.
func (l Lognormal) Below(d time.Duration) float64 {
	return 0.5 * math.Erfc(-math.Log(float64(d)/float64(l.Median))/(l.Sigma*math.Sqrt2))
}

// Spent returns the seconds spent in requests that take at most d, per request of any duration.
func (l Lognormal) Spent(d time.Duration) float64 {
	mean := l.Median.Seconds() * math.Exp(l.Sigma*l.Sigma/2)
	return mean * 0.5 * math.Erfc(-(math.Log(float64(d)/float64(l.Median))/l.Sigma-l.Sigma)/math.Sqrt2)
}

// Quantile returns the duration that the given share of requests does not exceed.
func (l Lognormal) Quantile(share float64) time.Duration {
	return time.Duration(float64(l.Median) * math.Exp(l.Sigma*math.Sqrt2*math.Erfinv(2*share-1)))
}

// moment is a time of one pod's life.
type moment struct {
	at       time.Duration // after the start of the trial
	age      float64       // seconds
	isCanary bool
}

func (c Canary) bad(m moment) bool { return m.isCanary && m.at >= c.Onset }

// errorShare returns the share of a pod's requests that fail.
func (c Canary) errorShare(m moment) float64 {
	served := 1 - c.Errors
	fail := func(share float64) { served *= 1 - share }
	if c.bad(m) {
		fail(c.Fault.Errors)
	}
	if m.isCanary {
		fail(c.Life.Errors)
	}
	if f := c.Life.Cold.Fails; f != nil {
		fail(f(m.age))
	}
	if during(m.at, c.chance.outage, outage) {
		fail(c.chance.fails)
	}
	return 1 - served
}

// part is a share of requests, which take that many times as long as usual.
type part struct{ share, times float64 }

// durations returns the parts of a pod's requests.
func (c Canary) durations(m moment) []part {
	times := 1.0
	scale := func(factor float64) {
		if factor > 0 {
			times *= factor
		}
	}
	if m.isCanary {
		scale(c.Life.Slower)
	}
	if f := c.Life.Cold.Slower; f != nil {
		scale(f(m.age))
	}
	if during(m.at, c.chance.outage, outage) {
		scale(c.Life.Outage.Slower)
	}
	miss, stuck := c.Life.Cache.Stable, 0.0
	if m.isCanary {
		miss = c.Life.Cache.Canary
	}
	if c.bad(m) {
		scale(c.Fault.Slower)
		stuck = c.Fault.Stuck
	}
	return []part{{(1 - stuck) * (1 - miss), times}, {(1 - stuck) * miss, times * cacheHit}, {stuck, stuckFor}}
}

// below returns the share of a pod's requests that take at most d, and the seconds spent in them.
func (c Canary) below(parts []part, d time.Duration) (share, spent float64) {
	for _, p := range parts {
		if p.share > 0 {
			l := Lognormal{Median: time.Duration(float64(c.Latency.Median) * p.times), Sigma: c.Latency.Sigma}
			share += p.share * l.Below(d)
			spent += p.share * l.Spent(d)
		}
	}
	return share, spent
}

// Population is the population that canaries are drawn from.
type Population struct {
	// Clumps are the sizes of clumps, which are equally frequent.
	Clumps []int
	// Fault is the fault of all canaries, and Life the life of all.
	Fault Fault
	Life  Life
	// FromBirth makes all bad canaries bad from their first request.
	FromBirth bool
}

// Draw draws a canary of p. Up to 2% of requests fail on both tracks; the canary gets 2 to 100 requests per second, which are 3% to 50%
// of all requests. Half of the bad canaries are bad from their first request, the others turn bad after five minutes.
func (p Population) Draw(r *rand.Rand) Canary {
	errors := []float64{0, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02}
	c := Canary{
		Errors:     errors[r.IntN(len(errors))],
		Rate:       logUniform(r, 2, 100),
		Share:      logUniform(r, 0.03, 0.5),
		StablePods: 1 + r.IntN(6),
		CanaryPods: 1 + r.IntN(2),
		Clump:      p.Clumps[r.IntN(len(p.Clumps))],
		Latency:    Lognormal{Median: time.Duration(logUniform(r, 0.01, 0.4) * float64(time.Second)), Sigma: 0.3 + 0.7*r.Float64()},
		Fault:      p.Fault,
		Life:       p.Life,
	}
	c.Begins = time.Duration(r.Float64() * float64(15*time.Second)) // independent of the evaluations
	c.Onset = c.Begins
	if late := r.IntN(2) == 0; late && !p.FromBirth {
		c.Onset += 5 * time.Minute
	}
	if r.IntN(10) == 0 {
		c.Restarts = time.Duration(r.Float64() * float64(30*time.Minute))
	}
	if p.Life.Restarts {
		c.Restarts = 0
	}
	c.chance = p.Life.draw(r, c.Begins)
	return c
}

// logUniform draws from a log-uniform distribution between low and high.
func logUniform(r *rand.Rand, low, high float64) float64 {
	return low * math.Exp(r.Float64()*math.Log(high/low))
}
