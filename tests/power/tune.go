package main

import (
	"cmp"
	"math"
	"slices"
	"time"

	"gonum.org/v1/gonum/stat/distuv"
)

// alarms counts the outcomes in which one of the alerts fired, or, without any named, any alert.
func alarms(outcomes []Outcome, alerts ...string) int {
	n := 0
	for _, o := range outcomes {
		if _, ok := o.first(alerts...); ok {
			n++
		}
	}
	return n
}

// first is when the first of the alerts fired.
func (o Outcome) first(alerts ...string) (time.Duration, bool) {
	first, fired := time.Duration(math.MaxInt64), false
	for alert, at := range o.Fired {
		if len(alerts) == 0 || slices.Contains(alerts, alert) {
			first, fired = min(first, at), true
		}
	}
	return first, fired
}

// above is when the score of a rival first was above a threshold.
func (o Outcome) above(rival string, threshold float64) (time.Duration, bool) {
	for _, r := range o.Rivals[rival] {
		if r.score > threshold {
			return r.after, true
		}
	}
	return 0, false
}

// tune is the lowest threshold with which a rival accuses at most so many of the healthy.
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

// times are how long it took, in order, of those that were caught at all.
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

// caught is the share, in percent, of n that were caught within d.
func caught(times []time.Duration, n int, d time.Duration) float64 {
	within, _ := slices.BinarySearch(times, d+1)
	return 100 * float64(within) / float64(n)
}

// quantile is the time within which that share of n was caught; false if fewer were.
func quantile(times []time.Duration, n int, share float64) (time.Duration, bool) {
	i := int(math.Ceil(share*float64(n))) - 1
	if i >= len(times) {
		return 0, false
	}
	return times[max(i, 0)], true
}

// interval is the 95% confidence interval of a share of which k in n were seen, by Clopper and Pearson.
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
