// Package charts_test renders the charts with Helm's own engine and decodes the output strictly, as the API server does: a misspelt
// field is an error.
package charts_test

import (
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"helm.sh/helm/v3/pkg/releaseutil"
	"helm.sh/helm/v3/pkg/strvals"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/kubernetes/scheme"
)

// monitorAPI is the API version of a cluster with the Prometheus Operator.
const monitorAPI = "monitoring.coreos.com/v1/ServiceMonitor"

// install is a helm install or upgrade. The zero value is the release of the exercise.
type install struct {
	release      string   // canary-demo
	set          string   // as after --set
	valuesFile   string   // in the chart's directory
	apis         []string // served besides Kubernetes' own
	revision     int      // 1
	chartVersion string   // the chart's own
}

// objects are a release's objects, by name.
type objects struct {
	deployments map[string]*appsv1.Deployment
	services    map[string]*corev1.Service
	configs     map[string]*corev1.ConfigMap
	ingresses   map[string]*networkingv1.Ingress
	routes      map[string]*httpRoute
	monitors    map[string]*serviceMonitor
	notes       string
}

// load reads the chart canary-demo.
func load(t *testing.T) *chart.Chart {
	t.Helper()
	c, err := loader.LoadDir("canary-demo")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// manifests renders the chart and returns its files by name, or the error that helm would end with.
func (i install) manifests(t *testing.T) (map[string]string, error) {
	t.Helper()
	values := map[string]any{}
	if i.valuesFile != "" {
		file, err := chartutil.ReadValuesFile("canary-demo/" + i.valuesFile)
		if err != nil {
			t.Fatal(err)
		}
		values = file
	}
	if err := strvals.ParseInto(i.set, values); err != nil {
		t.Fatalf("--set %s: %v", i.set, err)
	}
	c := load(t)
	if i.chartVersion != "" {
		c.Metadata.Version, c.Metadata.AppVersion = i.chartVersion, i.chartVersion
	}
	options := chartutil.ReleaseOptions{Name: i.release, Namespace: "canary-demo", Revision: max(i.revision, 1)}
	if options.Name == "" {
		options.Name = "canary-demo"
	}
	options.IsInstall, options.IsUpgrade = options.Revision == 1, options.Revision > 1
	capabilities := chartutil.DefaultCapabilities.Copy()
	capabilities.KubeVersion = chartutil.KubeVersion{Version: "v1.37.2", Major: "1", Minor: "37"}
	capabilities.APIVersions = append(capabilities.APIVersions, i.apis...)
	scope, err := chartutil.ToRenderValues(c, values, options, capabilities)
	if err != nil {
		return nil, err
	}
	return engine.Render(c, scope)
}

// render renders the chart and decodes every object of it.
func (i install) render(t *testing.T) objects {
	t.Helper()
	files, err := i.manifests(t)
	if err != nil {
		t.Fatal(err)
	}
	found := objects{
		deployments: map[string]*appsv1.Deployment{},
		services:    map[string]*corev1.Service{},
		configs:     map[string]*corev1.ConfigMap{},
		ingresses:   map[string]*networkingv1.Ingress{},
		routes:      map[string]*httpRoute{},
		monitors:    map[string]*serviceMonitor{},
	}
	for name, file := range files {
		if strings.HasSuffix(name, "NOTES.txt") {
			found.notes = file
			continue
		}
		for _, manifest := range releaseutil.SplitManifests(file) {
			found.decode(t, manifest)
		}
	}
	return found
}

// decode adds the object that manifest describes. An object of another kind, or one rendered twice, fails the test.
func (o *objects) decode(t *testing.T, manifest string) {
	t.Helper()
	switch {
	case strings.Contains(manifest, "kind: ServiceMonitor"):
		monitor := custom[serviceMonitor](t, manifest)
		add(t, o.monitors, monitor.Metadata.Name, monitor)
		return
	case strings.Contains(manifest, "kind: HTTPRoute"):
		route := custom[httpRoute](t, manifest)
		add(t, o.routes, route.Metadata.Name, route)
		return
	}
	codecs := serializer.NewCodecFactory(scheme.Scheme, serializer.EnableStrict)
	object, _, err := codecs.UniversalDeserializer().Decode([]byte(manifest), nil, nil)
	if err != nil {
		t.Fatalf("%v in\n%s", err, manifest)
	}
	switch object := object.(type) {
	case *appsv1.Deployment:
		add(t, o.deployments, object.Name, object)
	case *corev1.Service:
		add(t, o.services, object.Name, object)
	case *corev1.ConfigMap:
		add(t, o.configs, object.Name, object)
	case *networkingv1.Ingress:
		add(t, o.ingresses, object.Name, object)
	default:
		t.Fatalf("the chart renders a %T", object)
	}
}

func add[T any](t *testing.T, to map[string]T, name string, object T) {
	t.Helper()
	if _, twice := to[name]; twice {
		t.Fatalf("%T %s is rendered twice", object, name)
	}
	to[name] = object
}
