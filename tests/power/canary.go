package main

import (
	"math"
	"math/rand/v2"
	"time"
)

// Canary is a canary beside its stable track: what both have in common, and what is wrong with the canary, if anything.
type Canary struct {
	// Errors is the share of requests that fail on both tracks.
	Errors float64
	// Rate is how many requests a second the canary gets, Share which part of all requests that is.
	Rate, Share float64
	// StablePods and CanaryPods share the requests of their track evenly.
	StablePods, CanaryPods int
	// Clump is how many requests share one fate: one broken connection fails so many at once.
	Clump int
	// Latency is how long requests take on both tracks.
	Latency Lognormal
	// Begins is when the canary's pods start, Onset when it turns bad, after the start of the trial.
	Begins, Onset time.Duration
	// Fault is what is wrong with the canary from Onset on.
	Fault Fault
	// Restarts is when one of the pods, a stable one first, starts its counters anew; zero for never.
	Restarts time.Duration
}

// Fault is how a canary differs from the stable track. The zero Fault is no difference.
type Fault struct {
	// Errors is the share of requests that fail because of the fault.
	Errors float64
	// Slower is the factor by which every request takes longer; 0 is none.
	Slower float64
	// Stuck is the share of requests that take StuckFor instead of their usual time.
	Stuck float64
}

// stuckFor is how many times longer than the median a stuck request takes.
const stuckFor = 20

// Lognormal is a distribution of latencies.
type Lognormal struct {
	Median time.Duration
	Sigma  float64
}

// Below is the share of requests that take at most d.
func (l Lognormal) Below(d time.Duration) float64 {
	return 0.5 * math.Erfc(-math.Log(float64(d)/float64(l.Median))/(l.Sigma*math.Sqrt2))
}

// Spent is the seconds that requests take which take at most d, per request of any duration.
func (l Lognormal) Spent(d time.Duration) float64 {
	mean := l.Median.Seconds() * math.Exp(l.Sigma*l.Sigma/2)
	return mean * 0.5 * math.Erfc(-(math.Log(float64(d)/float64(l.Median))/l.Sigma-l.Sigma)/math.Sqrt2)
}

// Quantile is the time that a share of the requests takes at most.
func (l Lognormal) Quantile(share float64) time.Duration {
	return time.Duration(float64(l.Median) * math.Exp(l.Sigma*math.Sqrt2*math.Erfinv(2*share-1)))
}

// errorShare is the share of the canary's requests that fail once it is bad.
func (c Canary) errorShare() float64 { return c.Errors + (1-c.Errors)*c.Fault.Errors }

// latency is how long the canary's requests take once it is bad: most as usual, a share much longer.
func (c Canary) latency() (usual, stuck Lognormal) {
	usual, stuck = c.Latency, c.Latency
	stuck.Median *= stuckFor
	if c.Fault.Slower > 0 {
		usual.Median = time.Duration(float64(usual.Median) * c.Fault.Slower)
	}
	return usual, stuck
}

// below is the share of the canary's requests that take at most d once it is bad, and the seconds that they take.
func (c Canary) below(d time.Duration) (share, spent float64) {
	usual, stuck := c.latency()
	mix := func(f func(Lognormal, time.Duration) float64) float64 {
		return (1-c.Fault.Stuck)*f(usual, d) + c.Fault.Stuck*f(stuck, d)
	}
	return mix(Lognormal.Below), mix(Lognormal.Spent)
}

// Population is what canaries are drawn from.
type Population struct {
	// Clumps are the sizes of clumps that occur, equally often.
	Clumps []int
	// Fault is the same for all of them.
	Fault Fault
}

// Draw draws a canary of p. Base error rates are between none and 2%, the canary gets 2 to 100 requests a second, which are 3% to
// half of all; half of the bad ones are bad from their first request, the others turn bad after five minutes.
func (p Population) Draw(r *rand.Rand) Canary {
	errors := []float64{0, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02}
	c := Canary{
		Errors:     errors[r.IntN(len(errors))],
		Rate:       between(r, 2, 100),
		Share:      between(r, 0.03, 0.5),
		StablePods: 1 + r.IntN(6),
		CanaryPods: 1 + r.IntN(2),
		Clump:      p.Clumps[r.IntN(len(p.Clumps))],
		Latency:    Lognormal{Median: time.Duration(between(r, 0.01, 0.4) * float64(time.Second)), Sigma: 0.3 + 0.7*r.Float64()},
		Fault:      p.Fault,
	}
	c.Begins = time.Duration(r.Float64() * float64(15*time.Second)) // evaluations know nothing of it
	c.Onset = c.Begins
	if r.IntN(2) == 0 {
		c.Onset += 5 * time.Minute
	}
	if r.IntN(10) == 0 {
		c.Restarts = time.Duration(r.Float64() * float64(30*time.Minute))
	}
	return c
}

// between draws from low to high, every factor as likely as another.
func between(r *rand.Rand, low, high float64) float64 {
	return low * math.Exp(r.Float64()*math.Log(high/low))
}
