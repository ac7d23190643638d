package main

import (
	"slices"
	"time"

	"github.com/prometheus/prometheus/promql"
)

// Rival is another way to judge a canary: it fires where what a record says is above a threshold, patiently.
type Rival struct {
	Name string
	// Record is the name of the recording rule in rivals.rules.yml that it looks at.
	Record string
	// Usual is the threshold that its documentation shows.
	Usual float64
	// Knows, if set, corrects a value by what no one can know who sets one threshold for many services: the truth about this one.
	Knows func(c Canary, value float64) float64
	// Patience is how long or how often it has to be above the threshold.
	Patience Patience
}

// Patience turns values into scores: a rival fires at the first score above its threshold. So every threshold can be tried on the
// same scores.
type Patience interface {
	scores(values []promql.FPoint, every time.Duration) []promql.FPoint
}

// Checks fires when so many checks have failed since the canary began, in a row or not, as Flagger counts them.
type Checks struct {
	Every time.Duration
	Count int
}

// scores are the Count-th highest of the values that were checked.
func (c Checks) scores(values []promql.FPoint, _ time.Duration) []promql.FPoint {
	var scores []promql.FPoint
	var highest []float64 // ascending
	var next int64
	for _, v := range values {
		if v.T < next {
			continue
		}
		next = v.T + c.Every.Milliseconds()
		at, _ := slices.BinarySearch(highest, v.F)
		highest = slices.Insert(highest, at, v.F)
		if len(highest) > c.Count {
			highest = highest[1:]
		}
		if len(highest) == c.Count {
			scores = append(scores, promql.FPoint{T: v.T, F: highest[0]})
		}
	}
	return scores
}

// For fires when the value has been above the threshold for so long, as an alert with `for` does.
type For time.Duration

// scores are the lowest values of the time asked for.
func (f For) scores(values []promql.FPoint, every time.Duration) []promql.FPoint {
	var scores []promql.FPoint
	n := int(time.Duration(f)/every) + 1
	for i := n - 1; i < len(values); i++ {
		window := values[i-n+1 : i+1]
		if window[len(window)-1].T-window[0].T > time.Duration(f).Milliseconds() {
			continue // it was absent in between
		}
		lowest := slices.MinFunc(window, func(a, b promql.FPoint) int {
			switch {
			case a.F < b.F:
				return -1
			case a.F > b.F:
				return 1
			}
			return 0
		})
		scores = append(scores, promql.FPoint{T: values[i].T, F: lowest.F})
	}
	return scores
}

// errorRivals look at the share of requests that fail. Flagger's checks are a minute apart, and its examples have a success rate of
// 99% and 5 or 10 failed checks; an alert on a ratio is written with 1% or 5%, and waits a minute or not at all.
func errorRivals() []Rival {
	excess := func(c Canary, v float64) float64 { return v - c.Errors }
	return []Rival{
		{Name: "Flagger, 5 checks", Record: "rival:errors", Usual: 0.01, Patience: Checks{Every: time.Minute, Count: 5}},
		{Name: "Flagger, 1 check", Record: "rival:errors", Usual: 0.01, Patience: Checks{Every: time.Minute, Count: 1}},
		{Name: "ratio", Record: "rival:errors", Usual: 0.01, Patience: For(0)},
		{Name: "ratio for 1m", Record: "rival:errors", Usual: 0.05, Patience: For(time.Minute)},
		{Name: "ratio above the service's own", Record: "rival:errors", Usual: 0.01, Knows: excess, Patience: For(0)},
	}
}

// latencyRivals look at the 99th percentile, which Flagger's examples want below half a second.
func latencyRivals() []Rival {
	times := func(c Canary, v float64) float64 { return v / c.Latency.Quantile(0.99).Seconds() }
	return []Rival{
		{Name: "Flagger p99, 5 checks", Record: "rival:p99", Usual: 0.5, Patience: Checks{Every: time.Minute, Count: 5}},
		{Name: "Flagger p99, 1 check", Record: "rival:p99", Usual: 0.5, Patience: Checks{Every: time.Minute, Count: 1}},
		{Name: "p99", Record: "rival:p99", Usual: 0.5, Patience: For(0)},
		{Name: "p99 for 1m", Record: "rival:p99", Usual: 0.5, Patience: For(time.Minute)},
		{Name: "p99 in times the service's own", Record: "rival:p99", Usual: 2, Knows: times, Patience: For(0)},
	}
}
