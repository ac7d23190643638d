package traffic

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/upcommerce/backout/rollback"
)

// workload is what makes pods: its pod template's labels, and where it stands.
type workload struct {
	kind, name string
	labels     labels.Set
	canary     bool
}

// service is one Service of the manifest.
type service struct {
	name     string
	selector labels.Set
}

// selects reports whether the Service sends traffic to the workload's pods.
func (s service) selects(w workload) bool {
	return len(s.selector) > 0 && labels.SelectorFromSet(s.selector).Matches(w.labels)
}

// scaledBy returns the Deployments that a HorizontalPodAutoscaler of the manifest
// scales.
func scaledBy(m rollback.Manifest) names {
	found := names{}
	for _, object := range m {
		o := &unstructured.Unstructured{Object: object}
		if o.GetKind() != "HorizontalPodAutoscaler" {
			continue
		}
		if kind, _, _ := unstructured.NestedString(object, "spec", "scaleTargetRef", "kind"); kind == deploymentKind {
			name, _, _ := unstructured.NestedString(object, "spec", "scaleTargetRef", "name")
			found[name] = true
		}
	}
	return found
}

// workloadsOf returns what makes pods that serve: whatever has a pod template and
// does not end by itself.
func workloadsOf(m rollback.Manifest) []workload {
	var found []workload
	var tracked bool
	for _, object := range m {
		o := &unstructured.Unstructured{Object: object}
		if _, ok, _ := unstructured.NestedFieldNoCopy(object, "spec", "template", "spec"); !ok || o.GetKind() == "Job" {
			continue
		}
		w := workloadOf(o)
		tracked = tracked || w.canary
		found = append(found, w)
	}
	for i, w := range found {
		if !tracked {
			found[i].canary = strings.HasSuffix(w.name, canarySuffix)
		}
	}
	return found
}

func workloadOf(o *unstructured.Unstructured) workload {
	set, _, _ := unstructured.NestedStringMap(o.Object, "spec", "template", "metadata", "labels")
	return workload{kind: o.GetKind(), name: o.GetName(), labels: set, canary: set[trackLabel] == trackCanary}
}

func servicesOf(m rollback.Manifest) []service {
	var found []service
	for _, object := range m {
		o := &unstructured.Unstructured{Object: object}
		if o.GetKind() == "Service" && o.GroupVersionKind().Group == "" {
			found = append(found, serviceOf(o))
		}
	}
	return found
}

func serviceOf(o *unstructured.Unstructured) service {
	selector, _, _ := unstructured.NestedStringMap(o.Object, "spec", "selector")
	return service{name: o.GetName(), selector: selector}
}

// sorted returns the keys of m in order.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// number reads a whole number as YAML or JSON have it.
func number(value any) (int64, bool) {
	switch n := value.(type) {
	case int64:
		return n, true
	case float64:
		return int64(n), true
	case string:
		whole, err := strconv.ParseInt(strings.TrimSpace(n), 10, 64)
		return whole, err == nil
	default:
		return 0, false
	}
}
