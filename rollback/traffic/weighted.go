package traffic

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/upcommerce/backout/rollback"
)

// errNoOther says that a rule leads nowhere but to the canary.
var errNoOther = errors.New("no other backend has a weight: to take the canary out would take the route out; give another backend a weight")

// weighted is a router whose objects have lists of backends, each with a weight.
// The traffic is divided in proportion to the weights of a list.
type weighted struct {
	// lists are where an object may have such lists.
	lists []place
	// read says which backend an entry of a list is.
	read func(object *unstructured.Unstructured, entry map[string]any) backend
	// absent is the weight of a backend without one.
	absent int64
	// even says that backends which all have the weight zero share the traffic
	// evenly.
	even bool
}

// place is where lists of backends stand in an object.
type place struct {
	// path leads there, with * for every entry of a list: "spec.rules.*.backendRefs".
	path string
	// called is what people call the thing with the list, such as "rule".
	called string
}

// backend is one entry of a list.
type backend struct {
	// name is what people call it: that of its Service; for a subset of its pods
	// "service/subset".
	name string
	// service is the Service behind it, in the object's namespace; "" if there is
	// none that can be asked.
	service string
	// key and value are a field that says which backend the entry is. The key is
	// a JSON Pointer in the entry.
	key, value string

	weight int64
	// implied says that the weight depends on those of the others.
	implied bool
	canary  bool
	path    string
	entry   map[string]any
}

// split is one list of backends. It divides traffic if at least one of them is the
// canary and one is not.
type split struct {
	// label says which one it is among the lists of the object: "rule 2".
	label    string
	backends []backend
}

func (w weighted) leads(object *unstructured.Unstructured, c canary) (bool, error) {
	for _, l := range w.listsOf(object) {
		if err := ambiguous(w.backends(object, l, c), c); err != nil {
			return false, err
		}
	}
	return len(w.splits(object, c)) > 0, nil
}

// ambiguous returns an error that names the backends between which a person has to
// choose.
func ambiguous(all []backend, c canary) error {
	if c.chosen != nil || len(all) < 2 {
		return nil
	}
	var candidates []string
	for _, b := range all {
		mine := c.guessed && b.canary
		// The release has canary pods, but no Service that is only theirs.
		lost := c.tracked && len(c.services)+len(c.deployments) == 0 && c.own[b.service]
		if (mine || lost) && !slices.Contains(candidates, b.name) {
			candidates = append(candidates, b.name)
		}
	}
	if len(candidates) < 2 {
		return nil
	}
	return fmt.Errorf("which backend is the canary, %s? Set the annotation %s on it to one of them",
		strings.Join(candidates, " or "), canaryAnnotation)
}

// splits returns the lists that divide traffic between the canary and others.
func (w weighted) splits(object *unstructured.Unstructured, c canary) []split {
	return slices.DeleteFunc(w.all(object, c), func(s split) bool {
		canary := slices.ContainsFunc(s.backends, func(b backend) bool { return b.canary })
		other := slices.ContainsFunc(s.backends, func(b backend) bool { return !b.canary })
		return !canary || !other
	})
}

// all returns every list of the object.
func (w weighted) all(object *unstructured.Unstructured, c canary) []split {
	var all []split
	for _, l := range w.listsOf(object) {
		all = append(all, split{label: l.label, backends: w.backends(object, l, c)})
	}
	return all
}

// backends reads the entries of one list. What is none is left out.
func (w weighted) backends(object *unstructured.Unstructured, l entries, c canary) []backend {
	var all []backend
	var sum int64
	for i, e := range l.entries {
		fields, ok := e.(map[string]any)
		if !ok {
			continue
		}
		b := w.read(object, fields)
		if b.key == "" {
			continue
		}
		b.weight = w.absent
		if n, ok := number(fields["weight"]); ok {
			b.weight = n
		}
		b.canary = c.has(b.name, b.service)
		b.path, b.entry = fmt.Sprintf("%s/%d", l.path, i), fields
		sum += b.weight
		all = append(all, b)
	}
	if w.even && sum == 0 {
		for i := range all {
			all[i].weight, all[i].implied = 1, true
		}
	}
	return all
}

func (w weighted) look(live *unstructured.Unstructured, c canary, _ []unstructured.Unstructured) ([]rollback.Weight, []burden) {
	var weights []rollback.Weight
	var burdens []burden
	for _, s := range w.splits(live, c) {
		weight := w.named(live, s, s.canary(), s.canary())
		weights = append(weights, weight)
		if s.canary() == 0 {
			continue
		}
		b := burden{
			canary: float64(s.canary()), total: float64(s.total()),
			alone: fmt.Sprintf("no other backend of %s %s has a weight", weight.Kind, weight.Name),
		}
		if heir := s.heir(); heir >= 0 {
			b.heir, b.subset = c.heir(s.backends[heir])
		}
		burdens = append(burdens, b)
	}
	return w.beside(live, c, weights), burdens
}

// beside adds to the first weight's name what leads to the canary and to nobody
// else, such as a rule on a header: no weight can take that away, and without its
// only backend the rule would answer with errors.
func (w weighted) beside(live *unstructured.Unstructured, c canary, weights []rollback.Weight) []rollback.Weight {
	var alone []string
	for _, s := range w.all(live, c) {
		if s.alone() {
			alone = append(alone, s.label)
		}
	}
	switch {
	case len(weights) == 0 || len(alone) == 0:
	case len(alone) == 1:
		weights[0].Name += fmt.Sprintf(" (%s leads only to the canary and is left alone)", alone[0])
	default:
		weights[0].Name += fmt.Sprintf(" (%s lead only to the canary and are left alone)", strings.Join(alone, ", "))
	}
	return weights
}

func (w weighted) portions(live *unstructured.Unstructured, c canary, _ []unstructured.Unstructured) []portion {
	var found []portion
	for _, s := range w.splits(live, c) {
		found = append(found, portionOf(w.named(live, s, 0, 0).Name, float64(s.canary()), float64(s.total())))
	}
	return found
}

// named returns the canary's weight in one list. Where an object has several, its
// name is followed by which one it is.
func (w weighted) named(live *unstructured.Unstructured, s split, from, to int64) rollback.Weight {
	weight := rollback.Weight{
		Kind: live.GetKind(), Name: live.GetName(),
		From: strconv.FormatInt(from, 10), To: strconv.FormatInt(to, 10),
	}
	if len(w.listsOf(live)) > 1 {
		weight.Name += " " + s.label
	}
	return weight
}

// heir returns the Service behind a backend that would take the canary's traffic,
// and which of its pods; "" if nobody says which pods are in the subset.
func (c canary) heir(b backend) (service string, subset labels.Set) {
	if b.name == b.service {
		return b.service, nil
	}
	subset, described := c.subsets[b.name]
	if !described {
		return "", nil
	}
	return b.service, subset
}
