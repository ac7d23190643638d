package serve

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
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"k8s.io/client-go/rest"

	"github.com/upcommerce/backout/internal/version"
	"github.com/upcommerce/backout/rollback"
)

// metric is one of backout's own metrics, as the service registers it.
type metric struct {
	name, help string
	labels     []string
	kind       dto.MetricType
}

// ownMetrics returns the metrics of the whole service, with or without series, by name.
func ownMetrics(t *testing.T) []metric {
	t.Helper()
	c, err := load(t, map[string]string{
		"BACKOUT_AUTH": "none", "BACKOUT_RELEASES": "canary-demo/*", "BACKOUT_PROMETHEUS_URLS": "http://127.0.0.1:1",
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := newService(c, Cluster{Config: &rest.Config{Host: "http://127.0.0.1:1"}, Namespace: "backout"}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	// The metrics about releases have no series before the first record.
	s.engine.OnRecord(rollback.Record{Key: rollback.Key{Namespace: "canary-demo", Release: "canary-demo"}, Revision: 2})
	families, err := s.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	kinds := make(map[string]dto.MetricType)
	for _, f := range families {
		kinds[f.GetName()] = f.GetType()
	}
	// The channel has room for all: the registry is locked while it describes.
	descriptions := make(chan *prometheus.Desc, 1000)
	s.registry.Describe(descriptions)
	close(descriptions)
	var all []metric
	for d := range descriptions {
		m := parseDesc(t, d)
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

// parseDesc reads a description, which shows its contents only as a text.
func parseDesc(t *testing.T, d *prometheus.Desc) metric {
	t.Helper()
	parts := descPattern.FindStringSubmatch(d.String())
	if parts == nil {
		t.Fatalf("read %s: it has another format", d)
	}
	name, err := strconv.Unquote(parts[1])
	help, helpErr := strconv.Unquote(parts[2])
	if err := errors.Join(err, helpErr); err != nil {
		t.Fatalf("read %s: %v", d, err)
	}
	return metric{name: name, help: help, labels: strings.FieldsFunc(parts[3], func(r rune) bool { return r == ',' })}
}

// kindOf finds the type of a metric without series: the registry returns the collector
// that has the same description.
func kindOf(t *testing.T, r *prometheus.Registry, m metric) dto.MetricType {
	t.Helper()
	err := r.Register(prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: m.name, Help: m.help}, m.labels)) //nolint:promlinter // the name is a registered one
	var known prometheus.AlreadyRegisteredError
	if !errors.As(err, &known) {
		t.Fatalf("%s is described, but not registered: %v", m.name, err)
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

// metricsPage lists all metrics.
const metricsPage = "../../docs/metrics.md"

// TestMetricsPage compares docs/metrics.md with the metrics that the service registers.
// UPDATE=1 rewrites the file.
func TestMetricsPage(t *testing.T) {
	var b strings.Builder
	b.WriteString("# Metrics\n\n`/metrics` on the ops listener has these metrics of backout, besides those of Go and of the process. " +
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
		if err := os.WriteFile(metricsPage, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	shown, err := os.ReadFile(metricsPage)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b.String(), string(shown)); diff != "" {
		t.Errorf("docs/metrics.md is generated from the registry; UPDATE=1 rewrites it (-registry +page):\n%s", diff)
	}
}

// Names have base units, and end in _total on counters and only there.
func TestMetricNamesFollowTheConventions(t *testing.T) {
	var families []*dto.MetricFamily
	for _, m := range ownMetrics(t) {
		one := &dto.Metric{}
		for _, label := range m.labels {
			one.Label = append(one.Label, &dto.LabelPair{Name: &label})
		}
		families = append(families, &dto.MetricFamily{Name: &m.name, Help: &m.help, Type: &m.kind, Metric: []*dto.Metric{one}})
		if !strings.HasSuffix(m.help, ".") || strings.ContainsAny(m.help, "\n|") {
			t.Errorf("%s: the help is not in whole sentences that fit into a table: %q", m.name, m.help)
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

// A dashboard or an alert sees which build runs.
func TestTheBuildIsAMetric(t *testing.T) {
	const want = `# HELP backout_build_info Version, commit and Go version of the running program. Always 1.
# TYPE backout_build_info gauge
backout_build_info{commit="c0de",goversion="go1.26.0",version="0.1.0"} 1
`
	b := version.Build{Version: "0.1.0", Commit: "c0de", Go: "go1.26.0"}
	if err := testutil.CollectAndCompare(newBuildInfo(b), strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}
