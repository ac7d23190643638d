package main

import (
	"math"
	"math/rand/v2"
	"time"
)

// Life is how a canary that is healthy differs from a warm one that is equal to its stable track. The zero Life is no difference.
type Life struct {
	// Cold is how each pod of both tracks starts.
	Cold Cold
	// Slower is the factor by which every request to the canary takes longer for good, and Errors the share that fails besides.
	Slower, Errors float64
	// Cache are the shares of requests that miss a cache of their pod's own, on the stable track and on the canary. A miss takes five
	// times as long.
	Cache struct{ Stable, Canary float64 }
	// Bursts are failures that come together, on the canary alone.
	Bursts Bursts
	// Outage is something that both tracks depend on.
	Outage Outage
	// Grows adds a pod to each track while it is watched, Restarts restarts a stable one, and Peak multiplies all requests for four minutes.
	Grows, Restarts bool
	Peak            float64
}

// Cold is the start of a pod, by its age in seconds: the factor by which requests take longer, and the share that fails; nil: neither.
type Cold struct{ Slower, Fails func(age float64) float64 }

// Bursts are Count bursts of Size failures each, within two minutes.
type Bursts struct{ Count, Size int }

// Outage lasts for two minutes in which up to Fails of all requests fail, and all take Slower times as long.
type Outage struct{ Fails, Slower float64 }

// outage is how long an Outage and a Peak last.
const (
	outage   = 2 * time.Minute
	peak     = 4 * time.Minute
	cacheHit = 5
)

// chance is what a canary's life draws at random.
type chance struct {
	// outage, peak, grows and restarts are times after the start of the trial.
	outage, peak, grows, restarts time.Duration
	bursts                        []time.Duration
	fails                         float64
}

func (l Life) draw(r *rand.Rand, begins time.Duration) chance {
	within := func(from, to time.Duration) time.Duration {
		return begins + from + time.Duration(r.Float64()*float64(to-from))
	}
	c := chance{
		outage: within(2*time.Minute, 7*time.Minute), peak: within(2*time.Minute, 5*time.Minute),
		grows: within(2*time.Minute, 6*time.Minute), restarts: within(2*time.Minute, 6*time.Minute),
		fails: l.Outage.Fails * (0.3 + 0.7*r.Float64()),
	}
	first := within(10*time.Second, 6*time.Minute)
	for range l.Bursts.Count {
		c.bursts = append(c.bursts, first+time.Duration(r.Float64()*float64(outage)))
	}
	return c
}

// during says whether at is in the time d after from.
func during(at, from, d time.Duration) bool { return at >= from && at < from+d }

// fading is a factor that falls evenly from high to 1 in that many seconds, and share one that falls to zero.
func fading(high, seconds float64) func(float64) float64 {
	return func(age float64) float64 { return 1 + (high-1)*math.Max(0, 1-age/seconds) }
}

func share(high, seconds float64) func(float64) float64 {
	return func(age float64) float64 { return high * math.Max(0, 1-age/seconds) }
}

// decaying is a factor that begins at high and comes down exponentially, with a time constant in seconds.
func decaying(high, seconds float64) func(float64) float64 {
	return func(age float64) float64 { return 1 + (high-1)*math.Exp(-age/seconds) }
}

// column is a kind of healthy canary, and its name in a table.
type column struct {
	name    string
	metrics Metrics
	clumps  int
	life    Life
}

// timeOuts is the share of a JVM's first requests that time out.
func timeOuts(age float64) float64 {
	if age < 2.2 {
		return 0.42
	}
	return 0
}

// reflecting is the factor of a JVM that loads hundreds of classes by reflection, at 50 requests a second.
func reflecting(age float64) float64 {
	switch {
	case age < 1.5:
		return 500
	case age < 3:
		return 36
	case age < 5:
		return 11
	case age < 7:
		return 4
	}
	return 1
}

// columns returns the population that healthy canaries are drawn from. The starts are those of small HTTP services on half a core: of a
// JVM, of one with reflection and a JSON library, of Node, and of Python, Go and PHP.
func columns() []column {
	errors, latency := Metrics{Errors: true}, Metrics{Latency: true}
	cold := func(f func(float64) float64) Life { return Life{Cold: Cold{Slower: f}} }
	fails := func(f func(float64) float64) Life { return Life{Cold: Cold{Fails: f}} }
	cache := func(stable, canary float64) (l Life) {
		l.Cache.Stable, l.Cache.Canary = stable, canary
		return l
	}
	return []column{
		{"warm, errors", errors, 1, Life{}},
		{"warm, latency", latency, 1, Life{}},
		{"1% fails at first, fading over 30 s", errors, 1, fails(share(0.01, 30))},
		{"3% fails at first, fading over 60 s", errors, 1, fails(share(0.03, 60))},
		{"42% fails for 2.2 s", errors, 1, fails(timeOuts)},
		{"1.5 times as slow, fading over 30 s", latency, 1, cold(fading(1.5, 30))},
		{"2 times, 30 s", latency, 1, cold(fading(2, 30))},
		{"3 times, 60 s", latency, 1, cold(fading(3, 60))},
		{"5 times, 120 s", latency, 1, cold(fading(5, 120))},
		{"JVM, 10 requests a second", latency, 1, cold(func(age float64) float64 { return 1 + 14/(1+age/0.35) })},
		{"JVM, 50 requests a second", latency, 1, cold(decaying(57, 1))},
		{"JVM with reflection, 10 a second", latency, 1, cold(decaying(561, 0.63))},
		{"JVM with reflection, 50 a second", latency, 1, cold(reflecting)},
		{"Node", latency, 1, cold(decaying(2.3, 0.4))},
		{"Python, Go, PHP", latency, 1, cold(decaying(4, 0.5))},
		{"a cache, 2.6 times as slow for good", latency, 1, cache(0.1, 0.66)},
		{"a cache, 1.5 times as slow for good", latency, 1, cache(0.1, 0.275)},
		{"10% slower for good", latency, 1, Life{Slower: 1.1}},
		{"20% slower for good", latency, 1, Life{Slower: 1.2}},
		{"0.5% more fail for good", errors, 1, Life{Errors: 0.005}},
		{"failures in clumps of 30", errors, 30, Life{}},
		{"failures in clumps of 100", errors, 100, Life{}},
		{"one clump of 30 on the canary alone", errors, 1, Life{Bursts: Bursts{1, 30}}},
		{"one clump of 100 on the canary alone", errors, 1, Life{Bursts: Bursts{1, 100}}},
		{"two clumps of 30 on the canary alone", errors, 1, Life{Bursts: Bursts{2, 30}}},
		{"both tracks fail for 2 minutes", errors, 1, Life{Outage: Outage{Fails: 0.6}}},
		{"both tracks are 10 times as slow for 2 minutes", latency, 1, Life{Outage: Outage{Slower: 10}}},
		{"new pods on both tracks, JVM", latency, 1, Life{Cold: Cold{Slower: decaying(57, 1)}, Grows: true}},
		{"a stable pod restarts, JVM", latency, 1, Life{Cold: Cold{Slower: decaying(57, 1)}, Restarts: true}},
		{"three times the requests for 4 minutes", errors, 1, Life{Peak: 3}},
	}
}
