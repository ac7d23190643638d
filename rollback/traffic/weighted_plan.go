package traffic

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/upcommerce/backout/rollback"
)

// leadsAlone is why a list keeps its weights on which the canary has all of them.
const leadsAlone = "leads only to the canary"

// planned is one list that divides traffic, with what a shed does about it.
type planned struct {
	split
	// takeover is the index of the backend that takes over the canary's weight; -1 if no other
	// one could.
	takeover int
	// lent says that this backend has no weight on the list, and another list gave it.
	lent bool
	// left says why the list keeps its weights; "" if it does not.
	left string
}

// plan says what a shed does about each list that divides traffic. No list decides for the
// others: one on which no other backend has a weight, such as that of a rule on a header, is
// taken over by the backend that takes over another list, or else it keeps its weights. If that
// would be so for every list, none is left alone: the route is refused.
func (w weighted) plan(object *unstructured.Unstructured, held heldWeights, c canary) []planned {
	var all []planned
	known := sets.New[string]()
	for _, s := range w.splits(object, c) {
		p := planned{split: s, takeover: s.takeover()}
		if p.takeover >= 0 {
			known.Insert(p.backends[p.takeover].name)
		}
		all = append(all, p)
	}
	able := false
	for i := range all {
		p := &all[i]
		if p.takeover < 0 {
			p.takeover = slices.IndexFunc(p.backends, func(b backend) bool { return !b.canary && known.Has(b.name) })
			p.lent = p.takeover >= 0
		}
		open := p.canaryWeight() > 0
		if p.left = held.leftAlone(p.split); open && p.left == "" {
			p.left = c.left[p.label]
		}
		able = able || open && p.left == "" && p.takeover >= 0 || !open && held.notes(p.split)
	}
	for i := range all {
		if p := &all[i]; able && p.left == "" && p.takeover < 0 && p.canaryWeight() > 0 {
			p.left = leadsAlone
		}
	}
	return all
}

// nameLeftAlone adds to the first weight's name the lists that keep their weights, those that
// list none but the canary among them: no weight can stop their traffic, and without its only
// backend such a rule would answer with errors.
func (w weighted) nameLeftAlone(live *unstructured.Unstructured, c canary, plan []planned, weights []rollback.Weight) []rollback.Weight {
	if len(weights) == 0 {
		return weights
	}
	left := make(map[string]string)
	for _, p := range plan {
		left[p.label] = p.left
	}
	var alone []string
	for _, s := range w.all(live, c) {
		if s.canaryAlone() || left[s.label] == leadsAlone {
			alone = append(alone, s.label)
		}
	}
	switch {
	case len(alone) == 1:
		weights[0].Name += fmt.Sprintf(" (%s %s and is left alone)", alone[0], leadsAlone)
	case len(alone) > 1:
		weights[0].Name += fmt.Sprintf(" (%s lead only to the canary and are left alone)", strings.Join(alone, ", "))
	}
	for _, p := range plan {
		if p.left != "" && p.left != leadsAlone {
			weights[0].Name += fmt.Sprintf(" (%s is left alone: %s)", p.label, p.left)
		}
	}
	return weights
}

// leftWeights returns the weights of an object of which every list keeps its own.
func (w weighted) leftWeights(live *unstructured.Unstructured, plan []planned) []rollback.Weight {
	var weights []rollback.Weight
	for _, p := range plan {
		weight := w.weight(live, p.split, p.canaryWeight(), p.canaryWeight())
		weight.Name += fmt.Sprintf(" (is left alone: %s)", p.left)
		weights = append(weights, weight)
	}
	return weights
}

// forSome reports whether a list is that of a rule which only requests with a certain header,
// cookie or query reach: its weights are no measure of the load.
func (s split) forSome(object *unstructured.Unstructured) bool {
	i := strings.LastIndex(s.path, "/")
	if i <= 0 {
		return false
	}
	rule, _ := valueAt(object.Object, s.path[:i])
	fields, _ := rule.(map[string]any)
	if text, ok := fields["match"].(string); ok {
		return !strings.Contains(text, "||") && !strings.Contains(text, "!") && (strings.Contains(text, "Header") || strings.Contains(text, "Query"))
	}
	if conditions, ok := fields["conditions"].([]any); ok {
		return slices.ContainsFunc(conditions, limits) // all of them have to hold
	}
	for _, name := range []string{"matches", "match"} {
		if alternatives, ok := fields[name].([]any); ok && len(alternatives) > 0 {
			return !slices.ContainsFunc(alternatives, func(a any) bool { return !limits(a) })
		}
	}
	return false
}

// limits reports whether a condition of a rule is one on headers, cookies or the query.
func limits(condition any) bool {
	fields, _ := condition.(map[string]any)
	for _, name := range []string{"headers", "header", "queryParams", "queryParameter", "cookies", "cookie", "argument"} {
		if fields[name] == nil {
			continue
		}
		// Contour negates a condition by its field: notpresent, notexact. NGINX negates its value.
		value, _ := fields["value"].(string)
		negated := strings.HasPrefix(value, "!")
		one, _ := fields[name].(map[string]any)
		for field := range one {
			negated = negated || strings.HasPrefix(field, "not")
		}
		return !negated
	}
	return false
}
