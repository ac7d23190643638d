package traffic

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/upcommerce/backout/rollback"
)

// weighted is a router whose objects have lists of backends, each with a weight. It divides
// the traffic in proportion to the weights of a list.
type weighted struct {
	// lists are the places of such lists in an object.
	lists []listPath
	// read returns the backend of an entry; the zero backend for an entry that gets no
	// users' requests.
	read func(object *unstructured.Unstructured, entry map[string]any) backend
	// absent is the weight of a backend without one.
	absent int64
	// even says that backends which all have the weight zero share the traffic evenly.
	even bool
	// max is the largest weight that the API or the router accepts; 0 for any.
	max int64
}

// backendByName reads the backend of an entry that has its name.
func backendByName(entry map[string]any) backend {
	name, _ := entry["name"].(string)
	return backend{name: name, key: "/name", value: name}
}

// backendByReference reads the backend of an entry that refers to an object, by default to
// a Service of the same namespace.
func backendByReference(object *unstructured.Unstructured, entry map[string]any) backend {
	b := backendByName(entry)
	kind, _ := entry["kind"].(string)
	namespace, _ := entry["namespace"].(string)
	if (kind == "" || kind == "Service") && inNamespaceOf(object, namespace) {
		b.service = b.name
	}
	return b
}

// inNamespaceOf reports whether a backend's namespace is that of the object. A manifest need
// not declare the object's.
func inNamespaceOf(object *unstructured.Unstructured, namespace string) bool {
	return namespace == "" || object.GetNamespace() == "" || namespace == object.GetNamespace()
}

func (w weighted) leads(object *unstructured.Unstructured, c canary) (bool, error) {
	all := w.all(object, c)
	for _, s := range all {
		if err := ambiguous(s.backends, c); err != nil {
			return false, err
		}
	}
	return slices.ContainsFunc(all, split.divides), nil
}

// ambiguous returns an error that names the backends between which an operator has to
// choose.
func ambiguous(all []backend, c canary) error {
	known := !c.guessed && slices.ContainsFunc(all, func(b backend) bool { return b.canary })
	if c.chosen != nil || len(all) < 2 || known {
		return nil
	}
	var candidates []string
	for _, b := range all {
		guessed := c.guessed && b.canary
		// The release has canary pods, but no Service that selects only them.
		unknown := c.tracked && len(c.services)+len(c.deployments) == 0 && c.ownServices.Has(b.service)
		if (guessed || unknown) && !slices.Contains(candidates, b.name) {
			candidates = append(candidates, b.name)
		}
	}
	if len(candidates) < 2 {
		return nil
	}
	return fmt.Errorf("which backend is the canary, %s? Set the annotation %s on it to one of them",
		strings.Join(candidates, " or "), canaryAnnotation)
}

// splits returns the lists that divide traffic between the canary and other backends.
func (w weighted) splits(object *unstructured.Unstructured, c canary) []split {
	return slices.DeleteFunc(w.all(object, c), func(s split) bool { return !s.divides() })
}

// all returns every list of the object.
func (w weighted) all(object *unstructured.Unstructured, c canary) []split {
	var all []split
	for _, l := range w.listsOf(object) {
		all = append(all, split{label: l.label, path: l.path, backends: w.backends(object, l, c), max: w.max})
	}
	return all
}

// listsOf returns every list of the object as it is written there.
func (w weighted) listsOf(object *unstructured.Unstructured) []backendList {
	var found []backendList
	for _, p := range w.lists {
		found = append(found, p.in(object)...)
	}
	return found
}

// backends reads the entries of one list, and leaves out those that are not a backend.
func (w weighted) backends(object *unstructured.Unstructured, l backendList, c canary) []backend {
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
		b.path, b.entry = l.entryPath(i), fields
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

func (w weighted) observe(live *unstructured.Unstructured, c canary, _ []unstructured.Unstructured) ([]rollback.Weight, []load) {
	var weights []rollback.Weight
	var loads []load
	plan := w.plan(live, heldOn(live), c)
	for _, p := range plan {
		if p.left != "" {
			continue
		}
		weight := w.weight(live, p.split, p.canaryWeight(), p.canaryWeight())
		weights = append(weights, weight)
		if p.canaryWeight() == 0 {
			continue
		}
		l := load{
			label: p.label, apart: true, canary: float64(p.canaryWeight()), total: float64(p.total()),
			noStable: fmt.Sprintf("no other backend of %s %s has a weight", weight.Kind, weight.Name),
		}
		if p.takeover >= 0 {
			l.takeover, l.subset = takeoverService(p.backends[p.takeover], c)
			if p.lent || p.forSome(live) {
				l.canary = 0
			}
		}
		loads = append(loads, l)
	}
	return w.nameLeftAlone(live, c, plan, weights), loads
}

// takeoverService returns the Service behind a backend that would take over the canary's
// traffic, and the labels of the pods in its subset; "" if no DestinationRule describes the
// subset.
func takeoverService(b backend, c canary) (service string, subset labels.Set) {
	if b.name == b.service {
		return b.service, nil
	}
	subset, described := c.subsets[b.name]
	if !described {
		return "", nil
	}
	return b.service, subset
}

func (w weighted) shares(live *unstructured.Unstructured, c canary, _ []unstructured.Unstructured) []share {
	var found []share
	for _, p := range w.plan(live, heldOn(live), c) {
		if p.left == "" {
			found = append(found, shareOf(w.weight(live, p.split, 0, 0).Name, float64(p.canaryWeight()), float64(p.total())))
		}
	}
	return found
}

// weight returns the canary's weight in one list. If the object has several lists, the
// label follows its name.
func (w weighted) weight(live *unstructured.Unstructured, s split, from, to int64) rollback.Weight {
	weight := rollback.Weight{
		Kind: live.GetKind(), Name: live.GetName(),
		From: strconv.FormatInt(from, 10), To: strconv.FormatInt(to, 10),
	}
	if len(w.listsOf(live)) > 1 {
		weight.Name += " " + s.label
	}
	return weight
}
