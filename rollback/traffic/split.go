package traffic

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// canary returns the canary's weight, of all its backends together.
func (s split) canary() int64 {
	var sum int64
	for _, b := range s.backends {
		if b.canary {
			sum += b.weight
		}
	}
	return sum
}

// total returns the sum of all weights.
func (s split) total() int64 {
	var sum int64
	for _, b := range s.backends {
		sum += b.weight
	}
	return sum
}

// heir returns the index of the backend that gets the canary's weight: the
// heaviest of the others; -1 if none of them has a weight.
func (s split) heir() int {
	heir := -1
	for i, b := range s.backends {
		if !b.canary && b.weight > 0 && (heir < 0 || b.weight > s.backends[heir].weight) {
			heir = i
		}
	}
	return heir
}

// emptied returns the split with nothing for the canary. It returns errNoOther if
// nobody else would get anything.
func (s split) emptied() (split, error) {
	heir := s.heir()
	if heir < 0 {
		return split{}, errNoOther
	}
	canary := s.canary()
	e := split{label: s.label, backends: slices.Clone(s.backends)}
	for i, b := range s.backends {
		if b.canary {
			e.backends[i].weight = 0
		}
	}
	e.backends[heir].weight += canary
	return e, nil
}

// alike reports whether both lists have the same backends in the same order.
func (s split) alike(o split) bool {
	return slices.EqualFunc(s.backends, o.backends, func(a, b backend) bool { return a.name == b.name })
}

// become returns what gives every backend its weight of target, a list that is
// alike, provided that they are still the backends that were read.
func (s split) become(target split) []operation {
	same := true
	for i, b := range s.backends {
		same = same && b.weight == target.backends[i].weight
	}
	if same {
		return nil
	}
	var operations []operation
	for i, b := range s.backends {
		if weight := target.backends[i].weight; weight != b.weight || b.implied {
			operations = append(operations,
				operation{Op: "test", Path: b.path + b.key, Value: b.value},
				operation{Op: "add", Path: b.path + "/weight", Value: weight})
		}
	}
	return operations
}

// String returns the weights as a hold's mark has them: "shop=80,shop-canary=20".
func (s split) String() string {
	var parts []string
	for _, b := range s.backends {
		parts = append(parts, fmt.Sprintf("%s=%d", b.name, b.weight))
	}
	return strings.Join(parts, ",")
}

// restored returns the split with the weights of a mark. It reports false if the
// mark is not about these backends.
func (s split) restored(mark string) (split, bool) {
	r := split{label: s.label, backends: slices.Clone(s.backends)}
	parts := strings.Split(mark, ",")
	if len(parts) != len(r.backends) {
		return split{}, false
	}
	for i, part := range parts {
		name, text, _ := strings.Cut(part, "=")
		weight, err := strconv.ParseInt(text, 10, 64)
		if err != nil || name != r.backends[i].name {
			return split{}, false
		}
		r.backends[i].weight = weight
	}
	return r, true
}

// found returns the split as a shed found it, by the marks of the hold; as it is, if
// it was never held, or somebody has raised it since. It reports false if the mark is
// not about these backends.
func (s split) found(held map[string]string) (split, bool) {
	mark, ok := held[s.label]
	if !ok || s.canary() != 0 {
		return s, true
	}
	return s.restored(mark)
}

// mark returns what leaves the weights that a shed found on the object.
func mark(live *unstructured.Unstructured, found map[string]string) ([]operation, error) {
	text, err := json.Marshal(found)
	if err != nil {
		return nil, err
	}
	return annotate(live, heldAnnotation, string(text)), nil
}

// heldWeights returns the weights that an earlier shed found, by the list's label.
func heldWeights(live *unstructured.Unstructured) map[string]string {
	var held map[string]string
	if err := json.Unmarshal([]byte(live.GetAnnotations()[heldAnnotation]), &held); err != nil {
		return nil
	}
	return held
}

// entries is one list of backends as it stands in an object.
type entries struct {
	label   string
	path    string
	entries []any
}

// listsOf returns every list of backends of the object, also those that are empty
// or not there where they could be. The entries are the object's own, no copies.
func (w weighted) listsOf(object *unstructured.Unstructured) []entries {
	var found []entries
	for _, p := range w.lists {
		found = append(found, p.walk(object.Object, strings.Split(p.path, "."), entries{label: p.called})...)
	}
	return found
}

func (p place) walk(node any, path []string, at entries) []entries {
	if len(path) == 0 {
		at.entries, _ = node.([]any)
		return []entries{at}
	}
	if path[0] == "*" {
		var found []entries
		list, _ := node.([]any)
		for i, n := range list {
			found = append(found, p.walk(n, path[1:], entries{
				label: fmt.Sprintf("%s %d", p.called, i+1), path: fmt.Sprintf("%s/%d", at.path, i),
			})...)
		}
		return found
	}
	fields, _ := node.(map[string]any)
	// A list that an object need not have is not counted among its lists; a rule
	// without backends is.
	if _, ok := fields[path[0]]; !ok && at.label == p.called {
		return nil
	}
	return p.walk(fields[path[0]], path[1:], entries{label: at.label, path: at.path + "/" + path[0]})
}
