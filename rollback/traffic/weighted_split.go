package traffic

import (
	"errors"
	"fmt"
	"slices"
)

// errNoOther says that a list leads only to the canary.
var errNoOther = errors.New("no other backend has a weight, so the route would lead nowhere without the canary: give another backend a weight")

// backend is one entry of a list of backends.
type backend struct {
	// name is that of its Service; for a subset of the Service's pods "service/subset".
	name string
	// service is the Service behind it, in the object's namespace; "" if it is not one.
	service string
	// key and value are a field that identifies the entry. The key is a JSON Pointer in the
	// entry.
	key, value string

	weight int64
	// implied says that the weight follows from those of the other backends.
	implied bool
	canary  bool
	// path is the JSON Pointer of the entry, and entry is the object's own, not a copy.
	path  string
	entry map[string]any
}

// split is one list of backends. It divides traffic if at least one of them is the canary's
// and one is not.
type split struct {
	// label says which one it is among the lists of the object, such as "rule 2".
	label string
	// path is the JSON Pointer of the list.
	path     string
	backends []backend
	// max is the largest weight of a backend; 0 for any.
	max int64
}

// canaryWeight returns the weight of all the canary's backends together.
func (s split) canaryWeight() int64 {
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

// divides reports whether the list divides traffic between the canary and other backends.
func (s split) divides() bool {
	canary := slices.ContainsFunc(s.backends, func(b backend) bool { return b.canary })
	other := slices.ContainsFunc(s.backends, func(b backend) bool { return !b.canary })
	return canary && other
}

// canaryAlone reports whether the list sends traffic to the canary and has no other backend.
func (s split) canaryAlone() bool {
	others := func(b backend) bool { return !b.canary }
	closed := func(b backend) bool { n, ok := number(b.entry["weight"]); return ok && n == 0 }
	return len(s.backends) > 0 && !slices.ContainsFunc(s.backends, others) && !slices.ContainsFunc(s.backends, closed)
}

// takeover returns the index of the backend that takes over the canary's weight: the
// heaviest of the others; -1 if none of them has a weight.
func (s split) takeover() int {
	return s.heaviest(func(i int) bool { return s.backends[i].canary })
}

// heaviest returns the index of the heaviest backend without the excluded ones; -1 if none
// of the rest has a weight.
func (s split) heaviest(excluded func(int) bool) int {
	heaviest := -1
	for i, b := range s.backends {
		if !excluded(i) && b.weight > 0 && (heaviest < 0 || b.weight > s.backends[heaviest].weight) {
			heaviest = i
		}
	}
	return heaviest
}

// gains reports whether the backend at that index may have its own weight and as much more. A
// list in which it may not gets another total: a router divides by what the weights add up to.
func (s split) gains(takeover int, weight int64) bool {
	return s.max == 0 || s.backends[takeover].weight+weight <= s.max
}

// withoutCanary returns the list with the canary at zero and the same total: the backend at
// the index takeover gets the canary's weight, if it may have that much.
func (s split) withoutCanary(takeover int) split {
	canary := s.canaryWeight()
	e := split{label: s.label, backends: slices.Clone(s.backends), max: s.max}
	for i, b := range s.backends {
		if b.canary {
			e.backends[i].weight = 0
		}
	}
	if s.gains(takeover, canary) {
		e.backends[takeover].weight += canary
	}
	return e
}

// ids identify the backends within the list: by their names, with a number where a name
// repeats, on another port.
func (s split) ids() []string {
	var ids []string
	seen := make(map[string]int)
	for _, b := range s.backends {
		seen[b.name]++
		id := b.name
		if n := seen[b.name]; n > 1 {
			id = fmt.Sprintf("%s#%d", b.name, n)
		}
		ids = append(ids, id)
	}
	return ids
}

// canaryIDs returns the ids of the canary's backends.
func (s split) canaryIDs() []string {
	var ids []string
	for i, id := range s.ids() {
		if s.backends[i].canary {
			ids = append(ids, id)
		}
	}
	return ids
}

// sameBackends reports whether both lists have the same backends in the same order.
func (s split) sameBackends(o split) bool {
	return slices.EqualFunc(s.backends, o.backends, func(a, b backend) bool { return a.name == b.name })
}

// operationsTo returns the operations that set the weights of target, which has the same
// backends. Each tests that its entry is still the backend that was read.
func (s split) operationsTo(target split) []operation {
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

// write sets the weights of target, which has the same backends, in the object's own
// entries. It changes nothing if all weights are the same.
func (s split) write(target split) {
	if len(s.operationsTo(target)) == 0 {
		return
	}
	for i, b := range s.backends {
		if b.implied || b.weight != target.backends[i].weight {
			b.entry["weight"] = target.backends[i].weight
		}
	}
}
