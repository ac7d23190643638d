package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// trial returns a trial of healthy canaries of this kind.
func (c column) trial(canaries int, seed uint64) Trial {
	return Trial{
		Population: Population{Clumps: []int{c.clumps}, Life: c.life}, Canaries: canaries, Metrics: c.metrics,
		Seed: seed, Lasts: 15 * time.Minute, History: watched,
	}
}

// life measures for how many healthy canaries of each column the rules fire, and for how many they report something, at each
// sensitivity.
func (m *measurement) life(ctx context.Context) error {
	names := slices.Sorted(maps.Keys(m.sets))
	titles := []string{"A healthy canary: fires for, and reports, of 1,000", "canaries"}
	header(m.out, append(titles, names...)...)
	for _, c := range columns() {
		if !strings.Contains(c.name, m.column) {
			continue
		}
		outcomes, err := m.runSets(ctx, c.name, c.trial(m.scaled(100), m.next()))
		if err != nil {
			return err
		}
		cells := []string{c.name, strconv.Itoa(len(outcomes))}
		for _, name := range names {
			share := float64(reported(outcomes, name)) / float64(len(outcomes))
			cells = append(cells, fmt.Sprintf("%s, %.0f", thousandths(outcomes, name), 1000*share))
		}
		fmt.Fprintf(m.out, "| %s |\n", strings.Join(cells, " | "))
	}
	return nil
}

// thousandths returns for how many of 1,000 canaries an alert of a sensitivity fires, with its interval and the alerts.
func thousandths(outcomes []Outcome, set string) string {
	k, n, alerts := 0, len(outcomes), map[string]bool{}
	for _, o := range outcomes {
		if _, ok := firstOf(o.Fired, set); ok {
			k++
		}
		for alert := range o.Fired {
			if name, ok := strings.CutPrefix(alert, set+"/"); ok {
				alerts[name] = true
			}
		}
	}
	low, high := interval(k, n)
	cell := fmt.Sprintf("%.1f (%.1f to %.1f)", 1000*float64(k)/float64(n), 1000*low, 1000*high)
	if k == 0 {
		return cell
	}
	return cell + " " + strings.Join(slices.Sorted(maps.Keys(alerts)), " ")
}

// reported counts the canaries about which a sensitivity reports something.
func reported(outcomes []Outcome, set string) (n int) {
	for _, o := range outcomes {
		if _, ok := firstOf(o.Reported, set); ok {
			n++
		}
	}
	return n
}

// young measures how soon the rules fire for canaries that are bad from their first request, and how soon they report them.
func (m *measurement) young(ctx context.Context) error {
	names := slices.Sorted(maps.Keys(m.sets))
	header(m.out, append([]string{"Seconds from birth: a bad canary"}, names...)...)
	for _, f := range []struct {
		fault
		metrics Metrics
	}{
		{fault{"5% fail", Fault{Errors: 0.05}}, Metrics{Errors: true}},
		{fault{"10% fail", Fault{Errors: 0.1}}, Metrics{Errors: true}},
		{fault{"25% fail", Fault{Errors: 0.25}}, Metrics{Errors: true}},
		{fault{"half fail", Fault{Errors: 0.5}}, Metrics{Errors: true}},
		{fault{"all fail", Fault{Errors: 1}}, Metrics{Errors: true}},
		{fault{"1.5 times as slow", Fault{Slower: 1.5}}, Metrics{Latency: true}},
		{fault{"4 times as slow", Fault{Slower: 4}}, Metrics{Latency: true}},
		{fault{"10 times as slow", Fault{Slower: 10}}, Metrics{Latency: true}},
		{fault{"10% take 20 times as long", Fault{Stuck: 0.1}}, Metrics{Latency: true}},
	} {
		if !strings.Contains(f.name, m.column) {
			continue
		}
		t := Trial{
			Population: Population{Clumps: []int{1}, Fault: f.fault.fault, FromBirth: true}, Canaries: m.scaled(100), Metrics: f.metrics,
			Seed: m.next(), Lasts: watched, History: watched,
		}
		outcomes, err := m.runSets(ctx, f.name, t)
		if err != nil {
			return err
		}
		fmt.Fprintf(m.out, "| %s |", f.name)
		for _, name := range names {
			acts := method{name, func(o Outcome) (time.Duration, bool) { return firstOf(o.Fired, name) }}
			reports := method{name, func(o Outcome) (time.Duration, bool) { return firstOf(o.Reported, name) }}
			fmt.Fprintf(m.out, " %s; reported %s |", acts.speed(outcomes), reports.speed(outcomes))
		}
		fmt.Fprintln(m.out)
	}
	return nil
}

// firstOf returns the time at which the first alert of a sensitivity fired.
func firstOf(fired map[string]time.Duration, set string) (first time.Duration, ok bool) {
	for alert, at := range fired {
		if strings.HasPrefix(alert, set+"/") && (!ok || at < first) {
			first, ok = at, true
		}
	}
	return first, ok
}

// runSets runs a trial with the alerts of every sensitivity.
func (m *measurement) runSets(ctx context.Context, what string, t Trial) ([]Outcome, error) {
	own := *m
	own.rules = withSets(m.rules, m.sets)
	return own.run(ctx, what, t, nil)
}
