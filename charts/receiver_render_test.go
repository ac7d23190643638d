package charts_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	monitoringv1alpha1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1alpha1"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/releaseutil"
	"helm.sh/helm/v3/pkg/strvals"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
)

// Helm logs every link that it follows to the standard logger.
func TestMain(m *testing.M) {
	slog.SetDefault(slog.New(slog.DiscardHandler))
	os.Exit(m.Run())
}

// operatorAPIs are the API versions of a cluster with the Prometheus Operator.
func operatorAPIs() []string {
	return []string{
		"monitoring.coreos.com/v1", "monitoring.coreos.com/v1/ServiceMonitor", "monitoring.coreos.com/v1/PrometheusRule",
		"monitoring.coreos.com/v1alpha1", "monitoring.coreos.com/v1alpha1/AlertmanagerConfig",
	}
}

// readChart reads the chart once.
var readChart = sync.OnceValues(func() (*chart.Chart, error) { return loader.LoadDir("backout") })

// receiver is an installation of the chart backout. The zero value is the release backout in the namespace backout, without values.
type receiver struct {
	release string
	file    string   // values file in the chart's directory
	set     string   // as after --set
	apis    []string // served besides Kubernetes' own
	upgrade bool
	files   []*chart.File // additional files of the chart
}

// operated is r on a cluster with the Prometheus Operator.
func (r receiver) operated() receiver {
	r.apis = append(slices.Clone(r.apis), operatorAPIs()...)
	return r
}

// rendered is the decoded output.
type rendered struct {
	objects map[string]runtime.Object // by Kind namespace/name
	notes   string
}

func (r receiver) manifests(t *testing.T) (map[string]string, error) {
	t.Helper()
	values := map[string]any{}
	if r.file != "" {
		read, err := chartutil.ReadValuesFile(filepath.Join("backout", r.file))
		if err != nil {
			t.Fatal(err)
		}
		values = read
	}
	if err := strvals.ParseInto(r.set, values); err != nil {
		t.Fatalf("--set %s: %v", r.set, err)
	}
	read, err := readChart()
	if err != nil {
		t.Fatal(err)
	}
	c := *read
	c.Files = append(slices.Clone(c.Files), r.files...)
	options := chartutil.ReleaseOptions{Name: "backout", Namespace: "backout", Revision: 1, IsInstall: !r.upgrade, IsUpgrade: r.upgrade}
	if r.release != "" {
		options.Name = r.release
	}
	capabilities := chartutil.DefaultCapabilities.Copy()
	capabilities.KubeVersion = chartutil.KubeVersion{Version: "v1.37.2", Major: "1", Minor: "37"}
	capabilities.APIVersions = append(slices.Clone(capabilities.APIVersions), r.apis...)
	scope, err := chartutil.ToRenderValues(&c, values, options, capabilities)
	if err != nil {
		return nil, err
	}
	return engine.Render(&c, scope)
}

func (r receiver) render(t *testing.T) rendered {
	t.Helper()
	files, err := r.manifests(t)
	if err != nil {
		t.Fatal(err)
	}
	found := rendered{objects: map[string]runtime.Object{}}
	for name, file := range files {
		if strings.HasSuffix(name, "NOTES.txt") {
			found.notes = file
			continue
		}
		for _, manifest := range releaseutil.SplitManifests(file) {
			found.add(t, manifest)
		}
	}
	return found
}

// add decodes strictly, with the types of Kubernetes and of the Prometheus Operator: a misspelt field fails the test.
func (r *rendered) add(t *testing.T, manifest string) {
	t.Helper()
	if strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(manifest), "---")) == "" {
		return
	}
	known := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{scheme.AddToScheme, monitoringv1.AddToScheme, monitoringv1alpha1.AddToScheme} {
		if err := add(known); err != nil {
			t.Fatal(err)
		}
	}
	object, kind, err := serializer.NewCodecFactory(known, serializer.EnableStrict).UniversalDeserializer().Decode([]byte(manifest), nil, nil)
	if err != nil {
		t.Fatalf("%v in\n%s", err, manifest)
	}
	meta, ok := object.(metav1.Object)
	if !ok {
		t.Fatalf("%T has no name", object)
	}
	key := fmt.Sprintf("%s %s/%s", kind.Kind, meta.GetNamespace(), meta.GetName())
	if _, twice := r.objects[key]; twice {
		t.Fatalf("%s is rendered twice", key)
	}
	r.objects[key] = object
}

// one returns the object of that key.
func one[T runtime.Object](t *testing.T, r rendered, key string) T {
	t.Helper()
	object, ok := r.objects[key].(T)
	if !ok {
		t.Fatalf("no %s among %q", key, r.keys(""))
	}
	return object
}

// keys returns the keys that begin with prefix, sorted.
func (r rendered) keys(prefix string) []string {
	var keys []string
	for key := range r.objects {
		if strings.HasPrefix(key, prefix) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}
