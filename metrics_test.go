package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"k8s.io/client-go/rest"

	"github.com/upcommerce/backout/rollback"
)

// metric is one of backout's own, as its program registers it.
type metric struct {
	name, help string
	labels     []string
	kind       dto.MetricType
}

// ownMetrics are those of the whole program, whether or not they have series yet, by name.
func ownMetrics(t *testing.T) []metric {
	t.Helper()
	c, err := load(t, map[string]string{
		"BACKOUT_AUTH": "none", "BACKOUT_RELEASES": "canary-demo/*", "BACKOUT_PROMETHEUS_URLS": "http://127.0.0.1:1",
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := newService(c, cluster{config: &rest.Config{Host: "http://127.0.0.1:1"}, namespace: "backout"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	// What is told of a record has no series before there is one.
	s.engine.Notice(rollback.Record{Key: rollback.Key{Namespace: "canary-demo", Release: "canary-demo"}, Revision: 2})
	families, err := s.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	kinds := make(map[string]dto.MetricType)
	for _, f := range families {
		kinds[f.GetName()] = f.GetType()
	}
	// Room for all: while the registry describes, it is locked.
	descriptions := make(chan *prometheus.Desc, 1000)
	s.registry.Describe(descriptions)
	close(descriptions)
	var all []metric
	for d := range descriptions {
		m := described(t, d)
		if !strings.HasPrefix(m.name, "backout_") {
			continue
		}
		var known bool
		if m.kind, known = kinds[m.name]; !known {
			m.kind = kindOf(t, s.registry, m)
		}
		all = append(all, m)
	}
	slices.SortFunc(all, func(a, b metric) int { return strings.Compare(a.name, b.name) })
	return all
}

var descPattern = regexp.MustCompile(`^Desc\{fqName: ("(?:[^"\\]|\\.)*"), help: ("(?:[^"\\]|\\.)*"), unit: "[a-z]*", constLabels: \{[^}]*\}, variableLabels: \{([^}]*)\}\}$`)

// described reads a description, which tells what it holds only as a text.
func described(t *testing.T, d *prometheus.Desc) metric {
	t.Helper()
	parts := descPattern.FindStringSubmatch(d.String())
	if parts == nil {
		t.Fatalf("cannot read %s", d)
	}
	name, err := strconv.Unquote(parts[1])
	help, helpErr := strconv.Unquote(parts[2])
	if err := errors.Join(err, helpErr); err != nil {
		t.Fatalf("read %s: %v", d, err)
	}
	return metric{name: name, help: help, labels: strings.FieldsFunc(parts[3], func(r rune) bool { return r == ',' })}
}

// kindOf asks the registry what is registered under the description of a metric that has no series.
func kindOf(t *testing.T, r *prometheus.Registry, m metric) dto.MetricType {
	t.Helper()
	err := r.Register(prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: m.name, Help: m.help}, m.labels)) //nolint:promlinter // These are the names to be linted.
	var known prometheus.AlreadyRegisteredError
	if !errors.As(err, &known) {
		t.Fatalf("%s is registered and not known: %v", m.name, err)
	}
	switch c := known.ExistingCollector.(type) {
	case *prometheus.GaugeVec:
		return dto.MetricType_GAUGE
	case *prometheus.CounterVec:
		return dto.MetricType_COUNTER
	case *prometheus.HistogramVec:
		return dto.MetricType_HISTOGRAM
	default:
		t.Fatalf("%s is a %T", m.name, c)
		return 0
	}
}

// TestMetricsTable compares docs/metrics.md with what the program registers. UPDATE=1 rewrites the file.
func TestMetricsTable(t *testing.T) {
	const path = "docs/metrics.md"
	var b strings.Builder
	b.WriteString("# Metrics\n\nWhat `/metrics` on the ops listener tells of backout itself, beside Go's and the process' own. " +
		"Labels with a closed set of values have all their series from the start, at zero.\n\n" +
		"| name | type | labels | meaning |\n|---|---|---|---|\n")
	for _, m := range ownMetrics(t) {
		labels := ""
		if len(m.labels) > 0 {
			labels = "`" + strings.Join(m.labels, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.name, strings.ToLower(m.kind.String()), labels, m.help)
	}
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	shown, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b.String(), string(shown)); diff != "" {
		t.Errorf("%s is made of what is registered; UPDATE=1 rewrites it (-registered +file):\n%s", path, diff)
	}
}

// TestMetricsAreNamedByConvention: base units, _total on counters and only there, help.
func TestMetricsAreNamedByConvention(t *testing.T) {
	var families []*dto.MetricFamily
	for _, m := range ownMetrics(t) {
		one := &dto.Metric{}
		for _, label := range m.labels {
			one.Label = append(one.Label, &dto.LabelPair{Name: &label})
		}
		families = append(families, &dto.MetricFamily{Name: &m.name, Help: &m.help, Type: &m.kind, Metric: []*dto.Metric{one}})
		if !strings.HasSuffix(m.help, ".") || strings.ContainsAny(m.help, "\n|") {
			t.Errorf("%s: the help is not in whole sentences that fit a table: %q", m.name, m.help)
		}
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}
