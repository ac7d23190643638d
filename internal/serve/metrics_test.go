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
	if slices.Contains([]string{"backout_release_deployed_timestamp_seconds", "backout_workload_info"}, m.name) {
		return dto.MetricType_GAUGE // a collector of its own has them, once a release is known
	}
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

// metricsOfPods is the part of the page about joins, with ~ for a backquote.
const metricsOfPods = `
## Which pods are of which revision

Alert rules need it twice: to hold a canary's pods against those of the stable track, and to leave out what the pods of an earlier revision did.
Every replica of backout has the same series, with the same values, and without a label of its own. A join takes the maximum, so that it survives
a second replica, one that starts again, and a new leader:

    # The pods of Deployments, with the track and the revision that they belong to.
    label_replace(kube_pod_owner{owner_kind="ReplicaSet"}, "name", "$1", "owner_name", "(.*)")
    * on (namespace, name) group_left (release, revision, app, version, track)
    max by (namespace, release, revision, app, version, track, name) (backout_workload_info{kind="ReplicaSet"})

    # When the revision of each ReplicaSet was deployed.
    max by (namespace, release, revision, app, version, track, name) (backout_workload_info{kind="ReplicaSet"})
    * on (namespace, release, revision) group_left ()
    max by (namespace, release, revision) (backout_release_deployed_timestamp_seconds)

    # Seconds since the newest revision of each release was deployed.
    time() - max by (namespace, release) (backout_release_deployed_timestamp_seconds)

The time is that of the API server, in whole seconds: when it stored Helm's object for the revision, which is before Helm writes any other object.
A pod belongs to the revision of its ReplicaSet, StatefulSet or DaemonSet if it was created at that time or later (~kube_pod_created~). So it is for
every pod of a ReplicaSet that one revision made. These may have older pods:

- A ReplicaSet that its Deployment uses again, after a rollback or an upgrade to the same pod template. Its series has the revision under which it was
  last scaled or changed: after a rollback the revision that the rollback made, and not the one that made the ReplicaSet.
- A StatefulSet or DaemonSet, which has one series for all of its pods. Its series has the revision under which a client last changed the object. Its
  older pods are of an earlier revision, or the change did not concern them: wait until the window of the rule has passed since that time.

Upgrades that leave the pods alone, such as the steps of a ramp, move no ReplicaSet to another revision. If Helm no longer has the revision that
made it, the oldest that it has takes its place.

~track~ is the answer of backout itself, by the annotations, labels and routes of [docs/routers.md](routers.md#how-backout-finds-the-canary); a baseline counts
as stable. ~app~ is the label ~app.kubernetes.io/name~ of the pods, else ~app~; ~version~ is ~app.kubernetes.io/version~, else ~version~, else the tag of the image of the
first container.

There are no series for releases that are not opted in, for Deployments that Helm did not install, and for ReplicaSets without a Deployment, such as those of
Argo Rollouts. Where backout may not watch ReplicaSets, the log says so once, ~backout_replicasets_followed~ is 0, and no Deployment has series: rules
then go by the labels of the pods. A new ReplicaSet shows up as soon as it has its first pod, and the track of a new Deployment within about a second. A namespace
has at most 10,000 series.
`

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
	b.WriteString(strings.ReplaceAll(metricsOfPods, "~", "`"))
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
