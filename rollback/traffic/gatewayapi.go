package traffic

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/upcommerce/backout/rollback"
)

// gatewayAPI is every router that reads routes of the Gateway API: each rule of a
// route has a list of backends, each with a weight.
// https://gateway-api.sigs.k8s.io/reference/spec/#backendref
type gatewayAPI struct {
	// resourceName is "httproutes", say.
	resourceName string
}

// defaultWeight is what a backend without one has.
const defaultWeight = 1

// errNoOther says that a rule leads nowhere but to the canary.
var errNoOther = errors.New("no other backend has a weight: to take the canary out would take the route out")

// ref is one backend of one rule.
type ref struct {
	name   string
	weight int64
	canary bool
	path   string
}

func (g gatewayAPI) resource(object *unstructured.Unstructured) schema.GroupVersionResource {
	return object.GroupVersionKind().GroupVersion().WithResource(g.resourceName)
}

// rules returns the backends of the rules that have both a canary and another
// backend, by the rule's index.
func (gatewayAPI) rules(object *unstructured.Unstructured, canaries backends) map[int][]ref {
	found := make(map[int][]ref)
	rules, _, _ := unstructured.NestedSlice(object.Object, "spec", "rules")
	for i, rule := range rules {
		fields, _ := rule.(map[string]any)
		list, _, _ := unstructured.NestedSlice(fields, "backendRefs")
		var refs []ref
		var canary, other bool
		for j, entry := range list {
			fields, _ := entry.(map[string]any)
			b := ref{weight: weightOf(fields), path: fmt.Sprintf("/spec/rules/%d/backendRefs/%d", i, j)}
			b.name, _, _ = unstructured.NestedString(fields, "name")
			namespace, _, _ := unstructured.NestedString(fields, "namespace")
			kind, _, _ := unstructured.NestedString(fields, "kind")
			here := namespace == "" || namespace == object.GetNamespace()
			b.canary = canaries[b.name] && here && (kind == "" || kind == "Service")
			canary, other = canary || b.canary, other || !b.canary
			refs = append(refs, b)
		}
		if canary && other {
			found[i] = refs
		}
	}
	return found
}

// weightOf reads a weight as YAML or JSON have it.
func weightOf(backend map[string]any) int64 {
	switch w := backend["weight"].(type) {
	case int64:
		return w
	case float64:
		return int64(w)
	default:
		return defaultWeight
	}
}

func (g gatewayAPI) leads(object *unstructured.Unstructured, canaries backends) bool {
	return len(g.rules(object, canaries)) > 0
}

// shed gives the canary's weight to the heaviest other backend of the rule, so
// that the sum stays what it was.
func (g gatewayAPI) shed(live *unstructured.Unstructured, canaries backends) ([]rollback.Weight, []operation, error) {
	rules := g.rules(live, canaries)
	var weights []rollback.Weight
	var operations []operation
	found := make(map[string]int64)
	held := heldWeights(live)
	for i := range len(rulesOf(live)) {
		refs, ok := rules[i]
		if !ok {
			continue
		}
		canary, heaviest := total(refs)
		weight := g.named(live, i, canary, 0)
		if canary == 0 {
			if was, ok := held[strconv.Itoa(i)]; ok {
				weight.From = strconv.FormatInt(was, 10)
				found[strconv.Itoa(i)] = was
			}
			weights = append(weights, weight)
			continue
		}
		if heaviest < 0 {
			return nil, nil, fmt.Errorf("rule %d: %w", i+1, errNoOther)
		}
		found[strconv.Itoa(i)] = canary
		weights = append(weights, weight)
		for j, b := range refs {
			if b.canary && b.weight != 0 {
				operations = append(operations, b.set(0)...)
			}
			if j == heaviest {
				operations = append(operations, b.set(b.weight+canary)...)
			}
		}
	}
	if len(operations) == 0 {
		return weights, nil, nil
	}
	mark, err := json.Marshal(found)
	if err != nil {
		return nil, nil, err
	}
	return weights, append(operations, annotate(live, heldAnnotation, string(mark))), nil
}

// raise sets every backend of the live route to the weight that the route of the
// manifest gives it.
func (g gatewayAPI) raise(live, declared *unstructured.Unstructured, canaries backends) ([]rollback.Weight, []operation, error) {
	wanted := g.rules(declared, canaries)
	var weights []rollback.Weight
	var operations []operation
	rules := g.rules(live, canaries)
	for i := range len(rulesOf(live)) {
		refs, ok := rules[i]
		if !ok {
			continue
		}
		target, ok := wanted[i]
		if !ok || len(target) != len(refs) {
			return nil, nil, fmt.Errorf("rule %d has other backends than the release declares: somebody changed the route; set the weights by hand", i+1)
		}
		from, _ := total(refs)
		to, _ := total(target)
		weights = append(weights, g.named(live, i, from, to))
		for j, b := range refs {
			if target[j].name != b.name {
				return nil, nil, fmt.Errorf("rule %d has other backends than the release declares: somebody changed the route; set the weights by hand", i+1)
			}
			if target[j].weight != b.weight {
				operations = append(operations, b.set(target[j].weight)...)
			}
		}
	}
	return weights, append(operations, release(live)...), nil
}

// hold changes the object in place, as shed would have it changed. What cannot be
// shed is left as it is declared.
func (g gatewayAPI) hold(object *unstructured.Unstructured, canaries backends) {
	rules := rulesOf(object)
	for i, refs := range g.rules(object, canaries) {
		canary, heaviest := total(refs)
		if canary == 0 || heaviest < 0 {
			continue
		}
		list := rules[i].(map[string]any)["backendRefs"].([]any)
		for j, b := range refs {
			if b.canary {
				list[j].(map[string]any)["weight"] = int64(0)
			}
			if j == heaviest {
				list[j].(map[string]any)["weight"] = b.weight + canary
			}
		}
	}
}

// rulesOf returns the rules themselves, not a copy.
func rulesOf(object *unstructured.Unstructured) []any {
	spec, _ := object.Object["spec"].(map[string]any)
	rules, _ := spec["rules"].([]any)
	return rules
}

// total returns the canary's weight and the index of the heaviest other backend,
// -1 if no other one has a weight.
func total(refs []ref) (canary int64, heaviest int) {
	heaviest = -1
	for i, b := range refs {
		switch {
		case b.canary:
			canary += b.weight
		case b.weight > 0 && (heaviest < 0 || b.weight > refs[heaviest].weight):
			heaviest = i
		}
	}
	return canary, heaviest
}

// set returns what gives the backend that weight, provided it is still the one
// that was read.
func (b ref) set(weight int64) []operation {
	return []operation{
		{Op: "test", Path: b.path + "/name", Value: b.name},
		{Op: "add", Path: b.path + "/weight", Value: weight},
	}
}

// named returns the canary's weight on one rule. A route with several rules is
// named with the rule's number.
func (gatewayAPI) named(live *unstructured.Unstructured, rule int, from, to int64) rollback.Weight {
	w := rollback.Weight{
		Kind: live.GetKind(), Name: live.GetName(),
		From: strconv.FormatInt(from, 10), To: strconv.FormatInt(to, 10),
	}
	if len(rulesOf(live)) > 1 {
		w.Name += fmt.Sprintf(" rule %d", rule+1)
	}
	return w
}

// heldWeights returns the weights that an earlier shed found, by the rule's index.
func heldWeights(live *unstructured.Unstructured) map[string]int64 {
	var held map[string]int64
	if err := json.Unmarshal([]byte(live.GetAnnotations()[heldAnnotation]), &held); err != nil {
		return nil
	}
	return held
}
