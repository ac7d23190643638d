package main

import (
	"math"
	"testing"
	"time"
)

// A canary's life changes what the simulator draws, and leaves everything else as it is.
func TestLife(t *testing.T) {
	c := Canary{Latency: Lognormal{Median: 100 * time.Millisecond, Sigma: 0.3}, Errors: 0.1}
	c.Life = Life{Cold: Cold{Slower: fading(3, 60), Fails: share(0.5, 60)}, Outage: Outage{Fails: 0.2, Slower: 10}}
	c.chance = chance{outage: 10 * time.Minute, fails: 0.2}
	for name, want := range map[string]struct {
		moment       moment
		times, fails float64
	}{
		"warm":                    {moment{at: time.Minute, age: 600}, 1, 0.1},
		"cold":                    {moment{at: time.Minute, age: 0}, 3, 1 - 0.9*0.5},
		"half as cold":            {moment{at: time.Minute, age: 30}, 2, 1 - 0.9*0.75},
		"an outage":               {moment{at: 11 * time.Minute, age: 600}, 10, 1 - 0.9*0.8},
		"an outage of the canary": {moment{at: 11 * time.Minute, age: 600, isCanary: true}, 10, 1 - 0.9*0.8},
		"after it":                {moment{at: 12 * time.Minute, age: 600}, 1, 0.1},
	} {
		if got := c.errorShare(want.moment); math.Abs(got-want.fails) > 1e-9 {
			t.Errorf("%s: %g of its requests fail, want %g", name, got, want.fails)
		}
		if got := c.durations(want.moment)[0]; got != (part{1, want.times}) {
			t.Errorf("%s: %+v, want all %g times as slow", name, got, want.times)
		}
	}
}

func TestACacheIsSlowerForTheCanary(t *testing.T) {
	c := Canary{Latency: Lognormal{Median: 100 * time.Millisecond, Sigma: 0.3}}
	c.Life.Cache.Stable, c.Life.Cache.Canary = 0.1, 0.66
	mean := func(m moment) float64 {
		share, spent := c.below(c.durations(m), math.MaxInt64)
		if math.Abs(share-1) > 1e-9 {
			t.Errorf("%g of the requests have a duration, want all", share)
		}
		return spent
	}
	if got := mean(moment{isCanary: true}) / mean(moment{}); math.Abs(got-2.6) > 0.01 {
		t.Errorf("the canary is %g times as slow, want 2.6 times", got)
	}
}

// Bursts are on the canary alone, and each fails as a whole; pods that are added serve from their start.
func TestBurstsAndNewPods(t *testing.T) {
	src := random(1)
	c := Population{Clumps: []int{1}, Life: Life{Bursts: Bursts{Count: 2, Size: 30}, Grows: true}}.Draw(src)
	c.Errors, c.Restarts = 0, 0
	all := pods(src, c, "0", time.Minute)
	if want := c.StablePods + c.CanaryPods + 2; len(all) != want {
		t.Errorf("%d pods, want one more on each track: %d", len(all), want)
	}
	for i, p := range all {
		p.run(15*time.Second, 15*time.Minute, Metrics{Errors: true})
		want := 0.0
		if i == c.StablePods {
			want = 60
		}
		if p.failed.count != want {
			t.Errorf("pod %d failed %g requests, want %g", i, p.failed.count, want)
		}
		if i >= c.StablePods+c.CanaryPods && len(p.served.times) > 0 && time.Duration(p.served.times[0])*time.Millisecond < c.chance.grows {
			t.Errorf("pod %d is scraped before it exists", i)
		}
	}
}
