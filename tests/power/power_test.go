package main

import (
	"testing"
	"time"
)

// A sample of what `make rules-power` measures. The seeds are fixed, so the outcome is the same each time; the bounds leave room for a
// change of the rules that makes little difference, and for none that is seen in the tables.
func TestHealthyCanariesAreLeftAlone(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		signals  Signals
		clumps   []int
		canaries int
		allowed  int
	}{
		{"errors one by one", Signals{Errors: true}, []int{1}, 300, 0},
		{"errors three at a time", Signals{Errors: true}, []int{3}, 300, 3},
		{"latency", Signals{Latency: true}, []int{1, 3}, 100, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			outcomes := sample(t, Trial{Population: Population{Clumps: c.clumps}, Canaries: c.canaries, Signals: c.signals, Seed: 11})
			if n := alarms(outcomes); n > c.allowed {
				t.Errorf("%d of %d healthy canaries are accused, and only %d may be", n, len(outcomes), c.allowed)
			}
		})
	}
}

func TestBadCanariesAreCaughtSoon(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name         string
		signals      Signals
		fault        Fault
		median, most time.Duration // most: 90% of them
	}{
		{"5% fail", Signals{Errors: true}, Fault{Errors: 0.05}, 55 * time.Second, 150 * time.Second},
		{"half fail", Signals{Errors: true}, Fault{Errors: 0.5}, 25 * time.Second, 40 * time.Second},
		{"twice as slow", Signals{Latency: true}, Fault{Slower: 2}, 40 * time.Second, 90 * time.Second},
		{"10% stuck", Signals{Latency: true}, Fault{Stuck: 0.1}, 40 * time.Second, 90 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			outcomes := sample(t, Trial{Population: Population{Clumps: []int{1}, Fault: c.fault}, Canaries: 100, Signals: c.signals, Seed: 12})
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

func sample(t *testing.T, trial Trial) []Outcome {
	t.Helper()
	shippedRules, err := LoadRules(shipped)
	if err != nil {
		t.Fatal(err)
	}
	trial.Lasts, trial.History = 15*time.Minute, 15*time.Minute
	outcomes, err := trial.Run(t.Context(), shippedRules, nil, func(int) {})
	if err != nil {
		t.Fatal(err)
	}
	return outcomes
}
