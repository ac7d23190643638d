package main

import (
	"slices"
	"time"

	"github.com/prometheus/prometheus/promql"
)

// Rival is another rule for canaries: it fires if the value of a record is above a threshold for as long or as often as Patience says.
type Rival struct {
	Name string
	// Record is the name of its recording rule in rivals.rules.yml.
	Record string
	// Documented is the threshold in its documentation.
	Documented float64
	// Correct, if set, corrects a value by the true level of this service, which no single threshold for many services can take into account.
	Correct func(c Canary, value float64) float64
	// Patience is the time or the number of checks for which the value has to be above the threshold.
	Patience Patience
}

// Patience turns values into scores: a rival fires at the first score above its threshold. So all thresholds can be tried on the same
// scores.
type Patience interface {
	scores(values []promql.FPoint, every time.Duration) []promql.FPoint
}

// Checks fires once Count checks have failed since the start of the canary, consecutive or not, as Flagger counts them.
type Checks struct {
	Every time.Duration
	Count int
}

// scores returns the Count-th highest of the values checked so far.
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

// For fires once the value has been above the threshold for that long, as an alert with `for` does.
type For time.Duration

// scores returns the lowest values of that time.
func (f For) scores(values []promql.FPoint, every time.Duration) []promql.FPoint {
	var scores []promql.FPoint
	n := int(time.Duration(f)/every) + 1
	for i := n - 1; i < len(values); i++ {
		window := values[i-n+1 : i+1]
		if window[len(window)-1].T-window[0].T > time.Duration(f).Milliseconds() {
			continue // the series is interrupted
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

// errorRivals returns the rivals that watch the share of failed requests. Flagger's checks are a minute apart, and its examples have a
// success rate of 99% and 5 or 10 failed checks; alerts on a ratio usually have a threshold of 1% or 5%, and `for` is a minute or absent.
func errorRivals() []Rival {
	excess := func(c Canary, v float64) float64 { return v - c.Errors }
	return []Rival{
		{Name: "Flagger, 5 checks", Record: "rival:errors", Documented: 0.01, Patience: Checks{Every: time.Minute, Count: 5}},
		{Name: "Flagger, 1 check", Record: "rival:errors", Documented: 0.01, Patience: Checks{Every: time.Minute, Count: 1}},
		{Name: "ratio", Record: "rival:errors", Documented: 0.01, Patience: For(0)},
		{Name: "ratio for 1m", Record: "rival:errors", Documented: 0.05, Patience: For(time.Minute)},
		{Name: "ratio above the service's own", Record: "rival:errors", Documented: 0.01, Correct: excess, Patience: For(0)},
	}
}

// latencyRivals returns the rivals that watch the 99th percentile, which is below half a second in Flagger's examples.
func latencyRivals() []Rival {
	times := func(c Canary, v float64) float64 { return v / c.Latency.Quantile(0.99).Seconds() }
	return []Rival{
		{Name: "Flagger p99, 5 checks", Record: "rival:p99", Documented: 0.5, Patience: Checks{Every: time.Minute, Count: 5}},
		{Name: "Flagger p99, 1 check", Record: "rival:p99", Documented: 0.5, Patience: Checks{Every: time.Minute, Count: 1}},
		{Name: "p99", Record: "rival:p99", Documented: 0.5, Patience: For(0)},
		{Name: "p99 for 1m", Record: "rival:p99", Documented: 0.5, Patience: For(time.Minute)},
		{Name: "p99 in times the service's own", Record: "rival:p99", Documented: 2, Correct: times, Patience: For(0)},
	}
}
