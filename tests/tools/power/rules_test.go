package main

import (
	"context"
	"math"
	"net/url"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/rules"
)

const shipped = "../../../rules/canary.rules.yml"

// The simulator evaluates one rule at all steps before the next rule; Prometheus evaluates all rules at each step. The recorded series
// must be the same, and every alert must fire at the same time.
func TestEvaluateEqualsPrometheusGroups(t *testing.T) {
	ours, err := LoadRules(shipped)
	if err != nil {
		t.Fatal(err)
	}
	start := began()
	s := span{first: start, last: start.Add(12 * time.Minute), every: 15 * time.Second}
	byRule, byTime := scrapedCanaries(t, start), scrapedCanaries(t, start)
	e, err := byRule.Evaluate(t.Context(), ours, s)
	if err != nil {
		t.Fatal(err)
	}
	evaluateGroup(t, byTime, s)

	fired := 0
	for _, r := range ours {
		if r.Alert == "" {
			compare(t, r.Record, points(t, byRule, r.Record, s), points(t, byTime, r.Record, s))
			continue
		}
		first := map[string]int64{}
		for _, series := range e[r.Alert] {
			if len(series.Floats) > 0 {
				first[series.Metric.Get("release")] = series.Floats[0].T
			}
		}
		for _, series := range points(t, byTime, `ALERTS{alertstate="firing", alertname="`+r.Alert+`"}`, s) {
			release := series.Metric.Get("release")
			if first[release] != series.Floats[0].T {
				t.Errorf("%s of release %s fires at %d, and in Prometheus at %d", r.Alert, release, first[release], series.Floats[0].T)
			}
			delete(first, release)
			fired++
		}
		if len(first) > 0 {
			t.Errorf("%s does not fire in Prometheus: %v", r.Alert, first)
		}
	}
	if fired < 4 {
		t.Errorf("only %d alerts fired, too few for a comparison", fired)
	}
}

// scrapedCanaries returns a Prometheus that has scraped some canaries, good and bad, with restarts and missed scrapes.
func scrapedCanaries(t *testing.T, start time.Time) *Prometheus {
	t.Helper()
	p, err := NewPrometheus()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	for i, f := range []Fault{{}, {}, {Errors: 0.04}, {Errors: 0.5}, {Slower: 3}, {Stuck: 0.2}} {
		src := random(uint64(i))
		c := Population{Clumps: []int{1, 3}, Fault: f}.Draw(src)
		c.Rate, c.Share, c.Restarts = 20, 0.2, 8*time.Minute
		for _, pod := range pods(src, c, strconv.Itoa(i), time.Minute) {
			if err := p.store(t.Context(), start, pod.run(15*time.Second, 12*time.Minute, Metrics{Errors: true, Latency: true})); err != nil {
				t.Fatal(err)
			}
		}
	}
	return p
}

// evaluateGroup evaluates the shipped rules as Prometheus does.
func evaluateGroup(t *testing.T, p *Prometheus, s span) {
	t.Helper()
	m := rules.NewManager(&rules.ManagerOptions{
		ExternalURL:  &url.URL{},
		QueryFunc:    rules.EngineQueryFunc(p.engine, p.db),
		NotifyFunc:   func(context.Context, string, ...*rules.Alert) {},
		AppendableV2: p.db,
		Queryable:    p.db,
	})
	groups, errs := m.LoadGroups(s.every, labels.EmptyLabels(), "", nil, false, shipped)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	for at := s.first; !at.After(s.last); at = at.Add(s.every) {
		for _, g := range groups {
			g.Eval(t.Context(), at)
			g.RestoreForState(at) // Prometheus records no alerts before
		}
	}
}

func points(t *testing.T, p *Prometheus, expr string, s span) promql.Matrix {
	t.Helper()
	m, err := p.query(t.Context(), expr, s)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func compare(t *testing.T, name string, got, want promql.Matrix) {
	t.Helper()
	if len(got) != len(want) {
		t.Errorf("%s has %d series, and in Prometheus %d", name, len(got), len(want))
		return
	}
	for i := range want {
		if !labels.Equal(got[i].Metric, want[i].Metric) || len(got[i].Floats) != len(want[i].Floats) {
			t.Errorf("%s has %s with %d samples, and in Prometheus %s with %d",
				name, got[i].Metric, len(got[i].Floats), want[i].Metric, len(want[i].Floats))
			continue
		}
		for j, w := range want[i].Floats {
			if g := got[i].Floats[j]; g.T != w.T || math.Abs(g.F-w.F) > 1e-9*math.Max(1, math.Abs(w.F)) {
				t.Errorf("%s is %g at %d, and in Prometheus %g at %d", want[i].Metric, g.F, g.T, w.F, w.T)
				break
			}
		}
	}
}
