package traffic

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/upcommerce/backout/rollback"
)

// unrouted returns the canary's Services and subsets to which none of the routes leads, in
// order. A Service does not count whose pods get their traffic by another one to which a route
// leads, such as a headless one for scrapes; without any route, all count.
func (c canary) unrouted(routes []route) []string {
	var missing []string
	routed := sets.New[string]()
	for _, name := range sets.List(c.services) {
		if !slices.ContainsFunc(routes, func(o route) bool { return o.leadsTo(name) }) {
			missing = append(missing, name)
			continue
		}
		routed.Insert(c.podsOf(name)...)
	}
	if len(routes) == 0 {
		return missing
	}
	return slices.DeleteFunc(missing, func(name string) bool { return routed.HasAll(c.podsOf(name)...) })
}

// only returns the canary's side with none but those of its Services and subsets.
func (c canary) only(names []string) canary {
	c.services = sets.New(names...)
	return c
}

// withOthers adds the routes of other releases that are not among the routes yet. All of the
// canary's Services count on them: none of them takes over the traffic of another.
func (c canary) withOthers(routes, others []route) []route {
	c.foreign = true
	for _, o := range others {
		if !slices.ContainsFunc(routes, o.same) {
			o.canary = c
			routes = append(routes, o)
		}
	}
	return routes
}

// same reports whether both routes are the same object.
func (o route) same(other route) bool { return o.kind.name == other.kind.name && o.name == other.name }

// podsOf returns the canary's workloads whose pods the Service or subset selects.
func (c canary) podsOf(name string) []string {
	s := service{name: name, selector: c.selectors[name]}
	if subset, ok := c.subsets[name]; ok {
		s.selector = subset
	}
	var found []string
	for _, w := range c.workloads {
		if w.canary && s.selects(w) {
			found = append(found, w.kind+"/"+w.name)
		}
	}
	return found
}

// leadsTo reports whether the route leads to that backend of the canary, or may.
func (o route) leadsTo(name string) bool {
	if o.object == nil {
		return false
	}
	side := o.canary.on(o.object)
	if side.chosen != nil {
		return side.chosen.Has(name) || side.guessed
	}
	divides, err := o.kind.router.leads(o.object, side)
	side.services = sets.New(name)
	leads, onlyErr := o.kind.router.leads(o.object, side)
	return divides && leads || err != nil || onlyErr != nil
}

// missedBy says which Services of the canary get no route, for a namespace in which backout has
// looked for one.
func missedBy(k rollback.Key, unrouted []string) []string {
	if len(unrouted) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("no route of a known kind in namespace %s divides requests between %s and another backend: "+
		"its route is elsewhere or of an unknown kind; move it, or shed through its owner; if a route of the namespace leads to the canary, set the annotation %s on that route, with the name of the canary's backend",
		k.Namespace, strings.Join(unrouted, ", "), canaryAnnotation)}
}

// undecided says which routes of a manifest without a canary divide requests between the pods of
// several of its workloads: one of their backends may be a canary that no label shows.
func (r registry) undecided(m rollback.Manifest, c canary) []string {
	var all []string
	if c.tracked || c.shifted || len(c.services)+len(c.deployments) > 0 {
		return nil
	}
	for _, object := range m {
		o := &unstructured.Unstructured{Object: object}
		kind := r[o.GroupVersionKind().GroupKind()]
		w, lists, ok := weightedOf(kind.router, o)
		if !ok || c.on(o).chosen != nil {
			continue
		}
		for _, s := range w.all(lists, c) {
			if names := c.apart(s.backends); len(names) > 1 {
				all = append(all, fmt.Sprintf("%s divides requests between %s, and no label shows which one is the canary: set the annotation %s on it, such as %s=%s",
					w.weight(o, s, 0, 0).Route(), strings.Join(names, " and "), canaryAnnotation, canaryAnnotation, names[len(names)-1]))
			}
		}
	}
	return all
}

// apart returns the names of the backends with a weight behind which are different workloads of
// the release.
func (c canary) apart(backends []backend) []string {
	found := make(map[string]string)
	for _, b := range backends {
		selector := labels.Set(c.selectors[b.name])
		if subset, ok := c.subsets[b.name]; ok {
			selector = subset
		}
		var pods []string
		for _, w := range c.workloads {
			if (service{selector: selector}).selects(w) {
				pods = append(pods, w.kind+"/"+w.name)
			}
		}
		if _, known := found[strings.Join(pods, ",")]; b.weight > 0 && len(pods) > 0 && !known {
			found[strings.Join(pods, ",")] = b.name
		}
	}
	return slices.Sorted(maps.Values(found))
}
