package traffic

import (
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/upcommerce/backout/rollback"
)

// deploymentKind is the kind that takes the place of a routing object where a Service
// selects the pods of both tracks.
const deploymentKind = "Deployment"

// workload is an object of the manifest that makes pods which serve; labels are those
// of its pod template.
type workload struct {
	kind, name string
	labels     labels.Set
	canary     bool
	// declared is the workload of the manifest; the zero one for a live object.
	declared rollback.Workload
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

// scaledBy returns the Deployments that a HorizontalPodAutoscaler or a ScaledObject of the
// manifest scales.
func scaledBy(m rollback.Manifest) sets.Set[string] {
	found := sets.New[string]()
	for _, object := range m {
		o := &unstructured.Unstructured{Object: object}
		if o.GetKind() == scaledObjectKind {
			found.Insert(keda{}.targetOf(o))
		}
		if o.GetKind() != "HorizontalPodAutoscaler" {
			continue
		}
		if kind, _, _ := unstructured.NestedString(object, "spec", "scaleTargetRef", "kind"); kind == deploymentKind {
			name, _, _ := unstructured.NestedString(object, "spec", "scaleTargetRef", "name")
			found.Insert(name)
		}
	}
	return found
}

// workloadsOf returns the workloads that may be behind a Service.
func workloadsOf(m rollback.Manifest, t rollback.Track) []workload {
	serving := t.Serving(m)
	found := make([]workload, len(serving))
	for i, w := range serving {
		found[i] = workload{kind: w.Kind, name: w.Name, labels: w.PodLabels, canary: w.Canary, declared: w}
	}
	return found
}

// workloadOf returns a live object as a workload, which is the canary's if its pods
// carry the track label.
func workloadOf(o *unstructured.Unstructured, t rollback.Track) workload {
	w, _ := rollback.WorkloadOf(o.Object)
	return workload{kind: o.GetKind(), name: o.GetName(), labels: w.PodLabels, canary: t.Of(w.PodLabels)}
}

// servicesOf returns the Services of the manifest.
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

// number returns a decoded number, or a string that contains one, as a whole number.
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
