package traffic

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/json"
)

// weightsAnnotation is Skipper's: the weights of an Ingress' backends by the names of their
// Services. They count where several backends have the same host and path.
// https://opensource.zalando.com/skipper/kubernetes/ingress-usage/#blue-green-deployments
const weightsAnnotation = "zalando.org/backend-weights"

// fractions is what weights are multiplied by that are not whole numbers.
const fractions = 1000

// skipper is an Ingress of Skipper. A backend without a weight gets no traffic, unless no
// backend of its host and path has one: then all get the same.
// https://github.com/zalando/skipper/blob/master/dataclients/kubernetes/traffic.go
func skipper() annotated {
	return annotated{
		weighted: weighted{
			even: true,
			read: func(_ *unstructured.Unstructured, entry map[string]any) backend {
				b := backendByName(entry)
				b.service = b.name
				return b
			},
		},
		decode:     weightsOf,
		annotation: func(string) string { return weightsAnnotation },
		list:       func(key string) listPath { return listPath{path: "spec." + key, label: key} },
		encode:     func(value any) any { return weightsIn(value) },
		note:       keepsCanary,
	}
}

// weightsIn returns the weights of a list by name.
func weightsIn(value any) map[string]any {
	all := make(map[string]any)
	entries, _ := value.([]any)
	for _, e := range entries {
		entry, _ := e.(map[string]any)
		if name, _ := entry["name"].(string); entry["weight"] != nil {
			all[name] = entry["weight"]
		}
	}
	return all
}

// keepsCanary names the hosts and paths at which no other backend than the canary has a weight:
// its zero does not count there.
func keepsCanary(object *unstructured.Unstructured, values map[string]any, c canary) string {
	weights := weightsIn(values["weights"])
	leads, served := make(map[location]string), make(map[location]bool)
	for _, b := range ingressBackends(object) {
		weight, _ := number(weights[b.service])
		if c.has(b.service, b.service) {
			leads[b.location] = b.service
		} else if weight > 0 {
			served[b.location] = true
		}
	}
	var alone []string
	for _, at := range inOrder(leads) {
		if !served[at] {
			alone = append(alone, at.host+at.path)
		}
	}
	switch len(alone) {
	case 0:
		return ""
	case 1:
		return alone[0] + " " + leadsAlone + " and is left alone"
	default:
		return strings.Join(alone, ", ") + " lead only to the canary and are left alone"
	}
}

// weightsOf returns the weights of an Ingress as one list, in the order of the Services' names.
func weightsOf(object *unstructured.Unstructured) (map[string]any, error) {
	text, ok := object.GetAnnotations()[weightsAnnotation]
	if !ok {
		return map[string]any{}, nil
	}
	weights := make(map[string]float64)
	if err := json.Unmarshal([]byte(text), &weights); err != nil {
		return map[string]any{}, fmt.Errorf("read the annotation %s: %w", weightsAnnotation, err)
	}
	known := make(map[string]bool)
	for _, b := range ingressBackends(object) {
		known[b.service] = true
	}
	delete(known, "") // a backend that is not a Service
	scale := 1.0
	for name, weight := range weights {
		known[name] = true
		if weight != math.Trunc(weight) {
			scale = fractions
		}
	}
	list := []any{}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		entry := map[string]any{"name": name}
		if weight, ok := weights[name]; ok {
			entry["weight"] = int64(math.Round(weight * scale))
		}
		list = append(list, entry)
	}
	return map[string]any{"weights": list}, nil
}
