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

// split is one list of backends, of which at least one is the canary and one is
// not.
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
	var found []split
	for _, l := range w.listsOf(object) {
		all := w.backends(object, l, c)
		canary := slices.ContainsFunc(all, func(b backend) bool { return b.canary })
		other := slices.ContainsFunc(all, func(b backend) bool { return !b.canary })
		if canary && other {
			found = append(found, split{label: l.label, backends: all})
		}
	}
	return found
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

// shed gives the canary's weight to the heaviest other backend of its list, so
// that the sum stays what it was.
func (w weighted) shed(live *unstructured.Unstructured, c canary) (edit, error) {
	var e edit
	found, held := make(map[string]string), heldWeights(live)
	for _, s := range w.splits(live, c) {
		weight := w.named(live, s, s.canary(), 0)
		if s.canary() == 0 {
			if was, ok := s.restored(held[s.label]); ok {
				weight.From = strconv.FormatInt(was.canary(), 10)
				found[s.label] = held[s.label]
			}
			e.weights = append(e.weights, weight)
			continue
		}
		emptied, err := s.emptied()
		if err != nil {
			return edit{}, fmt.Errorf("%s: %w", s.label, err)
		}
		found[s.label] = s.String()
		e.weights = append(e.weights, weight)
		e.operations = append(e.operations, s.become(emptied)...)
	}
	if len(e.operations) == 0 {
		return e, nil
	}
	mark, err := mark(live, found)
	e.operations = append(e.operations, mark...)
	return e, err
}

// raise sets every backend of the live lists to the weight that the declared
// object gives it.
func (w weighted) raise(live, declared *unstructured.Unstructured, c canary) (edit, error) {
	var e edit
	wanted, held := make(map[string]split), heldWeights(live)
	if declared != nil {
		for _, s := range w.splits(declared, c) {
			wanted[s.label] = s
		}
	}
	for _, s := range w.splits(live, c) {
		target, ok := wanted[s.label]
		if declared == nil {
			target, ok = s.found(held)
		}
		if !ok || !s.alike(target) {
			return edit{}, fmt.Errorf("%s has other backends than it had: somebody changed the route; set the weights by hand", s.label)
		}
		e.weights = append(e.weights, w.named(live, s, s.canary(), target.canary()))
		e.operations = append(e.operations, s.become(target)...)
	}
	e.operations = append(e.operations, unannotate(live, heldAnnotation)...)
	return e, nil
}

// hold changes the object in place, as shed would have it changed. What cannot be
// shed is left as it is declared.
func (w weighted) hold(object *unstructured.Unstructured, c canary) {
	for _, s := range w.splits(object, c) {
		emptied, err := s.emptied()
		if err != nil || s.canary() == 0 {
			continue
		}
		for i, b := range s.backends {
			if b.implied || b.weight != emptied.backends[i].weight {
				b.entry["weight"] = emptied.backends[i].weight
			}
		}
	}
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
	return weights, burdens
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
