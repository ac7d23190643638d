package main

import (
	"testing"
	"time"
)

// A sample of what `make rules-power` measures. The seeds are fixed, so the outcome is the same each time; the bounds leave room for
// changes of the rules that make little difference, but not for changes that are visible in the tables.
func TestRulesRarelyFireForHealthyCanaries(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		metrics  Metrics
		clumps   []int
		canaries int
		allowed  int
	}{
		{"errors one by one", Metrics{Errors: true}, []int{1}, 100, 0},
		{"errors three at a time", Metrics{Errors: true}, []int{3}, 100, 1},
		{"latency", Metrics{Latency: true}, []int{1, 3}, 40, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			outcomes := sample(t, Trial{Population: Population{Clumps: c.clumps}, Canaries: c.canaries, Metrics: c.metrics, Seed: 11})
			if n := alarms(outcomes); n > c.allowed {
				t.Errorf("the rules fire for %d of %d healthy canaries, more than %d", n, len(outcomes), c.allowed)
			}
		})
	}
}

func TestRulesFireSoonForBadCanaries(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name         string
		metrics      Metrics
		fault        Fault
		median, most time.Duration // most: 90%
	}{
		{"5% fail", Metrics{Errors: true}, Fault{Errors: 0.05}, 100 * time.Second, 200 * time.Second},
		{"half fail", Metrics{Errors: true}, Fault{Errors: 0.5}, 36 * time.Second, 55 * time.Second},
		{"4 times as slow", Metrics{Latency: true}, Fault{Slower: 4}, 90 * time.Second, 115 * time.Second},
		{"30% stuck", Metrics{Latency: true}, Fault{Stuck: 0.3}, 85 * time.Second, 100 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			outcomes := sample(t, Trial{Population: Population{Clumps: []int{1}, Fault: c.fault}, Canaries: 40, Metrics: c.metrics, Seed: 12})
			n := len(outcomes)
			fired := times(outcomes, func(o Outcome) (time.Duration, bool) { return o.first() })
			median, half := quantile(fired, n, 0.5)
			most, nearly := quantile(fired, n, 0.9)
			t.Logf("median %s, 90%% within %s, %d of %d caught", median, most, len(fired), n)
			if !half || !nearly || median > c.median || most > c.most {
				t.Errorf("%d of %d are caught, half within %s and 90%% within %s: want %s and %s", len(fired), n, median, most, c.median, c.most)
			}
		})
	}
}

func sample(t *testing.T, trial Trial, rivals ...Rival) []Outcome {
	t.Helper()
	shippedRules, err := LoadRules(shipped, "rivals.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	trial.Lasts, trial.History = 10*time.Minute, 10*time.Minute
	outcomes, err := trial.Run(t.Context(), shippedRules, rivals, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	return outcomes
}

// At equal false alarms among healthy canaries of every kind the shipped rules are faster than every rival that a user can configure, for every fault: they catch half of the
// bad canaries before the rival has caught half.
func TestRivalsAreSlower(t *testing.T) {
	t.Parallel()
	for _, d := range []comparison{
		{title: "Errors", metrics: Metrics{Errors: true}, rivals: errorRivals(), each: 40, faults: []fault{
			{"3% fail", Fault{Errors: 0.03}}, {"10% fail", Fault{Errors: 0.1}}, {"half fail", Fault{Errors: 0.5}},
		}},
		{title: "Latency", metrics: Metrics{Latency: true}, rivals: latencyRivals(), each: 24, faults: []fault{
			{"4 times as slow", Fault{Slower: 4}}, {"10% stuck", Fault{Stuck: 0.1}}, {"30% stuck", Fault{Stuck: 0.3}},
		}},
	} {
		t.Run(d.title, func(t *testing.T) {
			one := Population{Clumps: []int{1}}
			for _, c := range columns() {
				if c.metrics == d.metrics {
					d.mixed = append(d.mixed, sample(t, c.trial(12, 21), d.rivals...)...)
				}
			}
			if n := alarms(d.mixed); n > 0 {
				t.Errorf("the rules fire for %d of %d healthy canaries of every kind", n, len(d.mixed))
			}
			for _, f := range d.faults {
				one.Fault = f.fault
				d.bad = append(d.bad, sample(t, Trial{Population: one, Canaries: d.each, Metrics: d.metrics, Seed: 22}, d.rivals...))
			}
			d.printBad(t.Output())
			methods := d.tuned()
			for i, f := range d.faults {
				mine, ok := quantile(times(d.bad[i], methods[0].fired), d.each, 0.5)
				for j, rival := range methods[1:] {
					if d.rivals[j].Correct != nil {
						continue
					}
					theirs, caught := quantile(times(d.bad[i], rival.fired), d.each, 0.5)
					if !ok || caught && theirs < mine {
						t.Errorf("%s: the shipped rules take %s, and %s takes %s", f.name, mine, rival.name, theirs)
					}
				}
			}
		})
	}
}
