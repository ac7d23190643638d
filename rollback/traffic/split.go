package traffic

import (
	"fmt"
	"slices"
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

// alone reports whether the list leads to the canary and to nobody else.
func (s split) alone() bool {
	others := func(b backend) bool { return !b.canary }
	closed := func(b backend) bool { n, ok := number(b.entry["weight"]); return ok && n == 0 }
	return len(s.backends) > 0 && !slices.ContainsFunc(s.backends, others) && !slices.ContainsFunc(s.backends, closed)
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
	return s.heaviest(func(i int) bool { return s.backends[i].canary })
}

// heaviest returns the index of the heaviest backend but those; -1 if none of the
// others has a weight.
func (s split) heaviest(but func(int) bool) int {
	heaviest := -1
	for i, b := range s.backends {
		if !but(i) && b.weight > 0 && (heaviest < 0 || b.weight > s.backends[heaviest].weight) {
			heaviest = i
		}
	}
	return heaviest
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

// write gives the object's own entries their weights of target, a list that is
// alike. Nothing is written if all have them.
func (s split) write(target split) {
	if len(s.become(target)) == 0 {
		return
	}
	for i, b := range s.backends {
		if b.implied || b.weight != target.backends[i].weight {
			b.entry["weight"] = target.backends[i].weight
		}
	}
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
