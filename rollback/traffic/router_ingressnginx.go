package traffic

import (
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
	canaryFlag = "nginx.ingress.kubernetes.io/canary"
	// weightAnnotation is a whole number as text, out of totalAnnotation. Without it the
	// weight is 0.
	weightAnnotation = "nginx.ingress.kubernetes.io/canary-weight"
	totalAnnotation  = "nginx.ingress.kubernetes.io/canary-weight-total"
	headerAnnotation = "nginx.ingress.kubernetes.io/canary-by-header"
	cookieAnnotation = "nginx.ingress.kubernetes.io/canary-by-cookie"

	// classAnnotation is the older way to write the class of any Ingress.
	classAnnotation = "kubernetes.io/ingress.class"

	// defaultTotal is the total without totalAnnotation.
	defaultTotal = 100
)

// ruleAnnotations send requests to the canary by their headers and cookies, whatever the
// weight is.
func ruleAnnotations() []string {
	return []string{
		headerAnnotation,
		"nginx.ingress.kubernetes.io/canary-by-header-value",
		"nginx.ingress.kubernetes.io/canary-by-header-pattern",
		cookieAnnotation,
	}
}

// ingressNGINX is ingress-nginx, and other controllers that read its annotations: the
// canary has its own Ingress, whose annotations say how much of the traffic it gets.
type ingressNGINX struct{}

func (ingressNGINX) leads(object *unstructured.Unstructured, c canary) (bool, error) {
	// ingress-nginx parses its boolean annotations in this way: "1" and "True" count.
	on, err := strconv.ParseBool(object.GetAnnotations()[canaryFlag])
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

// weight returns the weight alone, and together with the rules that take precedence over
// it: "20 and header x-canary".
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

// rules returns the object's rule annotations.
func (ingressNGINX) rules(object *unstructured.Unstructured) map[string]string {
	found := make(map[string]string)
	for _, name := range ruleAnnotations() {
		if value, ok := object.GetAnnotations()[name]; ok {
			found[name] = value
		}
	}
	return found
}

// shed leaves an Ingress alone that is no longer a canary route, whatever the manifest
// declares: another client has changed it, and it may carry the traffic of all users. Clients
// with a session leave the canary, too.
func (r ingressNGINX) shed(live *unstructured.Unstructured, c canary) (edit, error) {
	if leads, err := r.leads(live, c); err != nil || !leads {
		return edit{}, err
	}
	weight, whole := r.weight(live)
	e := edit{weights: []rollback.Weight{c.named(rollback.Weight{Kind: live.GetKind(), Name: live.GetName(), From: whole, To: zero})}}
	noted, removed, wanted := make(map[string]string), r.rules(live), make(map[string]string)
	held, marked := live.GetAnnotations()[heldAnnotation]
	switch e.marks = weight == zero && len(removed) == 0; {
	case e.marks && marked:
		e.weights[0].From = held
	case e.marks:
		wanted[heldAnnotation] = zero
	default:
		wanted[weightAnnotation], wanted[heldAnnotation] = zero, whole
	}
	if earlier := r.noted(live); e.marks && marked {
		noted = earlier
	} else if sessions, ok := earlier[sessionsAnnotation]; ok {
		noted[sessionsAnnotation] = sessions // another client has put back the rest
	}
	maps.Copy(noted, removed)
	if sessions := live.GetAnnotations()[sessionsAnnotation]; c.sessions && sessions != sessionsIgnored {
		noted[sessionsAnnotation], wanted[sessionsAnnotation] = sessions, sessionsIgnored
	}
	if len(wanted) == 0 {
		e.marks = false
		return e, nil
	}
	if len(noted) > 0 {
		text, err := json.Marshal(noted)
		if err != nil {
			return edit{}, err
		}
		wanted[heldRulesAnnotation] = string(text)
	}
	e.operations = append(annotateAll(live, wanted), unannotate(live, slices.Sorted(maps.Keys(removed))...)...)
	return e, nil
}

// restore leaves the same Ingresses alone as shed. It restores the declared rules and not
// those that the shed removed, which may be the suspect revision's.
func (r ingressNGINX) restore(live, declared *unstructured.Unstructured, c canary) (edit, error) {
	if leads, err := r.leads(live, c); err != nil || !leads {
		return edit{}, err
	}
	if declared == nil {
		declared = r.beforeShed(live)
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
	e.operations = append(e.operations, r.withSessions(live, declared)...)
	e.operations = append(e.operations, unannotate(live, heldAnnotation, heldRulesAnnotation)...)
	return e, nil
}

// beforeShed returns a live Ingress as the shed found it.
func (r ingressNGINX) beforeShed(live *unstructured.Unstructured) *unstructured.Unstructured {
	was := live.DeepCopy()
	annotations := was.GetAnnotations()
	weight, _, _ := strings.Cut(annotations[heldAnnotation], " ")
	if now, _ := r.weight(live); weight != "" && now == zero {
		annotations[weightAnnotation] = weight
	}
	for name, value := range r.noted(live) {
		if annotations[name] = value; name == sessionsAnnotation && value == "" {
			delete(annotations, name)
		}
	}
	was.SetAnnotations(annotations)
	return was
}

func (r ingressNGINX) unmark(live *unstructured.Unstructured, _ canary) ([]operation, error) {
	return append(r.withSessions(live, r.beforeShed(live)), unannotate(live, heldAnnotation, heldRulesAnnotation)...), nil
}

func (r ingressNGINX) hold(object, _ *unstructured.Unstructured, c canary) {
	if leads, err := r.leads(object, c); err != nil || !leads {
		return
	}
	annotations := object.GetAnnotations()
	annotations[weightAnnotation] = zero
	for name := range r.rules(object) {
		delete(annotations, name)
	}
	if _, ok := annotations[sessionsAnnotation]; ok {
		annotations[sessionsAnnotation] = sessionsIgnored // Helm keeps the live one where no manifest declares it
	}
	object.SetAnnotations(annotations)
}

// observe finds the Services to which other Ingresses send the canary's hosts and paths.
func (r ingressNGINX) observe(live *unstructured.Unstructured, c canary, neighbours []unstructured.Unstructured) ([]rollback.Weight, []load) {
	if leads, err := r.leads(live, c); err != nil || !leads {
		return nil, nil
	}
	_, weight := r.weight(live)
	weights := []rollback.Weight{c.named(rollback.Weight{Kind: live.GetKind(), Name: live.GetName(), From: weight, To: weight})}
	if weight == zero {
		return weights, nil
	}
	whole := load{noStable: fmt.Sprintf("all traffic of Ingress %s goes to the canary", live.GetName())}
	whole.canary, whole.total = r.weightOf(live)
	locations := backendsOf(live)
	if len(locations) == 0 {
		return weights, []load{whole}
	}
	var loads []load
	for _, at := range inOrder(locations) {
		l := whole
		l.label = at.host + at.path
		takeover, ok := r.stable(at, live, neighbours)
		if !ok {
			// ingress-nginx adds a canary to the backend of a location that another Ingress
			// has, and serves none by itself.
			// https://github.com/kubernetes/ingress-nginx/blob/main/internal/ingress/controller/controller.go (mergeAlternativeBackends)
			l.canary, l.total, l.unserved = 1, 1, true
			l.noStable = fmt.Sprintf("no other Ingress serves %s", l.label)
		}
		l.takeover = takeover
		loads = append(loads, l)
	}
	return weights, loads
}

// weightOf returns the weight as a number, and its total.
func (r ingressNGINX) weightOf(live *unstructured.Unstructured) (canary, total float64) {
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

func (r ingressNGINX) shares(live *unstructured.Unstructured, _ canary, _ []unstructured.Unstructured) []share {
	canary, total := r.weightOf(live)
	return []share{shareOf(live.GetName(), canary, total)}
}
