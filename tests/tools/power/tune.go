package main

import (
	"cmp"
	"math"
	"slices"
	"time"

	"gonum.org/v1/gonum/stat/distuv"
)

// alarms counts the outcomes in which an alert fired.
func alarms(outcomes []Outcome) int {
	n := 0
	for _, o := range outcomes {
		if _, ok := o.first(); ok {
			n++
		}
	}
	return n
}

// first returns the time at which the first of the alerts fired.
func (o Outcome) first(alerts ...string) (time.Duration, bool) {
	first, fired := time.Duration(math.MaxInt64), false
	for alert, at := range o.Fired {
		if len(alerts) == 0 || slices.Contains(alerts, alert) {
			first, fired = min(first, at), true
		}
	}
	return first, fired
}

// above returns the time at which the score of a rival first exceeded a threshold.
func (o Outcome) above(rival string, threshold float64) (time.Duration, bool) {
	for _, r := range o.Rivals[rival] {
		if r.score > threshold {
			return r.after, true
		}
	}
	return 0, false
}

// tune returns the lowest threshold at which a rival fires for at most the allowed number of healthy canaries.
func tune(healthy []Outcome, rival string, allowed int) float64 {
	var highest []float64
	for _, o := range healthy {
		if rises := o.Rivals[rival]; len(rises) > 0 {
			highest = append(highest, rises[len(rises)-1].score)
		}
	}
	if len(highest) <= allowed {
		return math.Inf(-1)
	}
	slices.SortFunc(highest, func(a, b float64) int { return cmp.Compare(b, a) })
	return highest[allowed]
}

// times returns the times at which a method fired, in order.
func times(outcomes []Outcome, fired func(Outcome) (time.Duration, bool)) []time.Duration {
	var all []time.Duration
	for _, o := range outcomes {
		if at, ok := fired(o); ok {
			all = append(all, at)
		}
	}
	slices.Sort(all)
	return all
}

// caught returns the percentage of n canaries that were caught within d.
func caught(times []time.Duration, n int, d time.Duration) float64 {
	within, _ := slices.BinarySearch(times, d+1)
	return 100 * float64(within) / float64(n)
}

// quantile returns the time within which that share of n canaries was caught, and false if fewer were.
func quantile(times []time.Duration, n int, share float64) (time.Duration, bool) {
	i := int(math.Ceil(share*float64(n))) - 1
	if i >= len(times) {
		return 0, false
	}
	return times[max(i, 0)], true
}

// interval returns the 95% confidence interval of the share k of n (Clopper-Pearson).
func interval(k, n int) (low, high float64) {
	low, high = 0, 1
	if k > 0 {
		low = distuv.Beta{Alpha: float64(k), Beta: float64(n - k + 1)}.Quantile(0.025)
	}
	if k < n {
		high = distuv.Beta{Alpha: float64(k + 1), Beta: float64(n - k)}.Quantile(0.975)
	}
	return low, high
}
