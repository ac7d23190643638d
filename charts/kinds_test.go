package charts_test

import (
	"testing"

	"sigs.k8s.io/yaml"
)

// header has the fields of every object.
type header struct {
	APIVersion string
	Kind       string
	Metadata   struct {
		Name, Namespace string
		Labels          map[string]string
	}
}

// serviceMonitor is the part of the Prometheus Operator's kind that the chart may use.
type serviceMonitor struct {
	header
	Spec struct {
		Selector  struct{ MatchLabels map[string]string }
		Endpoints []struct {
			Port, Path, Interval           string
			Relabelings, MetricRelabelings []struct {
				Action, Regex, TargetLabel string
				SourceLabels               []string
			}
		}
	}
}

// httpRoute is the part of the Gateway API's kind that the chart may use. Nil pointers are unset fields.
type httpRoute struct {
	header
	Spec struct {
		ParentRefs []parentRef
		Hostnames  []string
		Rules      []struct{ BackendRefs []backendRef }
	}
}

type parentRef struct {
	Group, Kind, Namespace, Name, SectionName string
	Port                                      int32
}

type backendRef struct {
	Name   string
	Port   int32
	Weight *int32
}

// custom decodes an object of a kind that Kubernetes does not have built in. A field that T lacks fails the test.
func custom[T any](t *testing.T, manifest string) *T {
	t.Helper()
	object := new(T)
	if err := yaml.UnmarshalStrict([]byte(manifest), object); err != nil {
		t.Fatalf("%v in\n%s", err, manifest)
	}
	return object
}
