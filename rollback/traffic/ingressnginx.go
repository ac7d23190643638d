package traffic

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/upcommerce/backout/rollback"
)

// The annotations of ingress-nginx.
// https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/annotations/#canary
const (
	canaryMark = "nginx.ingress.kubernetes.io/canary"
	// weightAnnotation is a whole number as text, of totalAnnotation; without it
	// the weight is 0.
	weightAnnotation = "nginx.ingress.kubernetes.io/canary-weight"
	totalAnnotation  = "nginx.ingress.kubernetes.io/canary-weight-total"
	headerAnnotation = "nginx.ingress.kubernetes.io/canary-by-header"
	cookieAnnotation = "nginx.ingress.kubernetes.io/canary-by-cookie"

	// classAnnotation is the older way to write the class of any Ingress.
	classAnnotation = "kubernetes.io/ingress.class"

	// defaultTotal is what a weight is of, without totalAnnotation.
	defaultTotal = 100

	zero = "0"
)

// heldRulesAnnotation is backout's own: the rules that a shed took away.
const heldRulesAnnotation = "backout.dev/held-rules"

// ruleAnnotations send requests to the canary by what is in them, whatever the
// weight is.
func ruleAnnotations() []string {
	return []string{
		headerAnnotation,
		"nginx.ingress.kubernetes.io/canary-by-header-value",
		"nginx.ingress.kubernetes.io/canary-by-header-pattern",
		cookieAnnotation,
	}
}

// ingressNGINX is ingress-nginx, and whoever reads its annotations: the canary
// has an Ingress of its own, whose annotations say how much of the traffic it
// gets.
type ingressNGINX struct{}

func (ingressNGINX) leads(object *unstructured.Unstructured, c canary) (bool, error) {
	// ingress-nginx reads its boolean annotations in this way: "1" and "True" count.
	on, err := strconv.ParseBool(object.GetAnnotations()[canaryMark])
	if err != nil || !on || !c.foreign {
		return err == nil && on, nil
	}
	for _, service := range backendsOf(object) {
		if c.has(service, service) {
			return true, nil
		}
	}
	return false, nil
}

// weight returns the declared weight, and what it is together with the rules that
// take precedence over it: "20 and header x-canary".
func (ingressNGINX) weight(object *unstructured.Unstructured) (weight, whole string) {
	annotations := object.GetAnnotations()
	weight = strings.TrimSpace(annotations[weightAnnotation])
	if weight == "" {
		weight = zero
	}
	whole = weight
	if header := annotations[headerAnnotation]; header != "" {
		whole += " and header " + header
	}
	if cookie := annotations[cookieAnnotation]; cookie != "" {
		whole += " and cookie " + cookie
	}
	return weight, whole
}

// rules returns the rule annotations that an object has.
func (ingressNGINX) rules(object *unstructured.Unstructured) map[string]string {
	found := make(map[string]string)
	for _, name := range ruleAnnotations() {
		if value, ok := object.GetAnnotations()[name]; ok {
			found[name] = value
		}
	}
	return found
}

// shed leaves alone what is no canary route any more, whatever the manifest
// declares: somebody has changed it, and it may carry everybody's traffic.
func (r ingressNGINX) shed(live *unstructured.Unstructured, c canary) (edit, error) {
	if leads, err := r.leads(live, c); err != nil || !leads {
		return edit{}, err
	}
	weight, whole := r.weight(live)
	told := rollback.Weight{Kind: live.GetKind(), Name: live.GetName(), From: whole, To: zero}
	rules := r.rules(live)
	if weight == zero && len(rules) == 0 {
		if held, ok := live.GetAnnotations()[heldAnnotation]; ok {
			told.From = held
		}
		return edit{weights: []rollback.Weight{told}}, nil
	}
	wanted := map[string]string{weightAnnotation: zero, heldAnnotation: whole}
	if len(rules) > 0 {
		text, err := json.Marshal(rules)
		if err != nil {
			return edit{}, err
		}
		wanted[heldRulesAnnotation] = string(text)
	}
	return edit{
		weights:    []rollback.Weight{told},
		operations: append(annotateAll(live, wanted), unannotate(live, sorted(rules)...)...),
	}, nil
}

// raise leaves alone what shed does. The declared rules count, not those that the
// shed took away: they may be the accused revision's.
func (r ingressNGINX) raise(live, declared *unstructured.Unstructured, c canary) (edit, error) {
	if leads, err := r.leads(live, c); err != nil || !leads {
		return edit{}, err
	}
	if declared == nil {
		declared = r.found(live)
	}
	from, wholeFrom := r.weight(live)
	to, wholeTo := r.weight(declared)
	wanted, rules := make(map[string]string), r.rules(declared)
	if from != to {
		wanted[weightAnnotation] = to
	}
	for name, value := range rules {
		if live.GetAnnotations()[name] != value {
			wanted[name] = value
		}
	}
	e := edit{weights: []rollback.Weight{{Kind: live.GetKind(), Name: live.GetName(), From: wholeFrom, To: wholeTo}}}
	if len(wanted) > 0 {
		e.operations = annotateAll(live, wanted)
	}
	e.operations = append(e.operations, unannotate(live, heldAnnotation, heldRulesAnnotation)...)
	return e, nil
}

// found returns a live Ingress as the shed found it.
func (r ingressNGINX) found(live *unstructured.Unstructured) *unstructured.Unstructured {
	was := live.DeepCopy()
	annotations := was.GetAnnotations()
	weight, _, _ := strings.Cut(annotations[heldAnnotation], " ")
	if now, _ := r.weight(live); weight != "" && now == zero {
		annotations[weightAnnotation] = weight
	}
	var rules map[string]string
	if json.Unmarshal([]byte(annotations[heldRulesAnnotation]), &rules) == nil {
		maps.Copy(annotations, rules)
	}
	was.SetAnnotations(annotations)
	return was
}

func (r ingressNGINX) hold(object *unstructured.Unstructured, _ canary) {
	annotations := object.GetAnnotations()
	annotations[weightAnnotation] = zero
	for name := range r.rules(object) {
		delete(annotations, name)
	}
	object.SetAnnotations(annotations)
}

// look finds who serves the canary's hosts and paths otherwise.
func (r ingressNGINX) look(live *unstructured.Unstructured, c canary, neighbours []unstructured.Unstructured) ([]rollback.Weight, []burden) {
	if leads, err := r.leads(live, c); err != nil || !leads {
		return nil, nil
	}
	_, whole := r.weight(live)
	weights := []rollback.Weight{{Kind: live.GetKind(), Name: live.GetName(), From: whole, To: whole}}
	if whole == zero {
		return weights, nil
	}
	share := burden{alone: fmt.Sprintf("all traffic of Ingress %s goes to the canary", live.GetName())}
	share.canary, share.total = r.share(live)
	places := backendsOf(live)
	if len(places) == 0 {
		return weights, []burden{share}
	}
	var burdens []burden
	for _, where := range inOrder(places) {
		b := share
		heir, ok := r.stable(where, live, neighbours)
		if !ok {
			b.canary, b.total = 1, 1
			b.alone = fmt.Sprintf("no other Ingress serves %s%s", where.host, where.path)
		}
		b.heir = heir
		burdens = append(burdens, b)
	}
	return weights, burdens
}

// share returns the weight as a number, and what it is of.
func (r ingressNGINX) share(live *unstructured.Unstructured) (canary, total float64) {
	weight, _ := r.weight(live)
	if n, err := strconv.ParseFloat(weight, 64); err == nil {
		canary = n
	}
	total = defaultTotal
	if n, err := strconv.ParseFloat(strings.TrimSpace(live.GetAnnotations()[totalAnnotation]), 64); err == nil && n > 0 {
		total = n
	}
	return canary, total
}

func (r ingressNGINX) portions(live *unstructured.Unstructured, _ canary, _ []unstructured.Unstructured) []portion {
	canary, total := r.share(live)
	return []portion{portionOf(live.GetName(), canary, total)}
}

// stable returns the Service to which an Ingress that is no canary sends the
// requests of that place; "" if its backend is no Service.
func (r ingressNGINX) stable(where location, live *unstructured.Unstructured, neighbours []unstructured.Unstructured) (string, bool) {
	for i := range neighbours {
		o := &neighbours[i]
		if leads, _ := r.leads(o, canary{}); leads || r.class(o) != r.class(live) {
			continue
		}
		if service, ok := backendsOf(o)[where]; ok {
			return service, true
		}
	}
	return "", false
}

// class returns the Ingress's class, in whichever of the two ways it is written.
func (ingressNGINX) class(object *unstructured.Unstructured) string {
	class, _, _ := unstructured.NestedString(object.Object, "spec", "ingressClassName")
	return cmp.Or(class, object.GetAnnotations()[classAnnotation])
}

// location is what an Ingress routes: a host and a path; both empty for everything
// else.
type location struct{ host, path string }

// inOrder returns the locations by host and path.
func inOrder(places map[location]string) []location {
	return slices.SortedFunc(maps.Keys(places), func(a, b location) int {
		return cmp.Or(cmp.Compare(a.host, b.host), cmp.Compare(a.path, b.path))
	})
}

// backendsOf returns the Services of an Ingress by what is routed to them; "" for a
// backend that is no Service.
func backendsOf(ingress *unstructured.Unstructured) map[location]string {
	found := make(map[location]string)
	if spec, ok := ingress.Object["spec"].(map[string]any); ok && spec["defaultBackend"] != nil {
		found[location{}], _, _ = unstructured.NestedString(spec, "defaultBackend", "service", "name")
	}
	rules, _, _ := unstructured.NestedFieldNoCopy(ingress.Object, "spec", "rules")
	list, _ := rules.([]any)
	for _, rule := range list {
		fields, _ := rule.(map[string]any)
		host, _ := fields["host"].(string)
		paths, _, _ := unstructured.NestedFieldNoCopy(fields, "http", "paths")
		entries, _ := paths.([]any)
		for _, e := range entries {
			entry, _ := e.(map[string]any)
			path, _ := entry["path"].(string)
			found[location{host, path}], _, _ = unstructured.NestedString(entry, "backend", "service", "name")
		}
	}
	return found
}
