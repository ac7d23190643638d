package router

import (
	"regexp"
	"strconv"
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/types"
)

// ingressClass is the class of the Ingresses that the router serves, in addition to those without a class.
const ingressClass = "nginx"

// The annotations of a canary Ingress.
// https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/annotations/#canary
const (
	annotationPrefix        = "nginx.ingress.kubernetes.io/"
	canaryAnnotation        = annotationPrefix + "canary"
	weightAnnotation        = annotationPrefix + "canary-weight"
	weightTotalAnnotation   = annotationPrefix + "canary-weight-total"
	headerAnnotation        = annotationPrefix + "canary-by-header"
	headerValueAnnotation   = annotationPrefix + "canary-by-header-value"
	headerPatternAnnotation = annotationPrefix + "canary-by-header-pattern"
	cookieAnnotation        = annotationPrefix + "canary-by-cookie"
)

// place is the host and path of a backend in an Ingress. A canary belongs to the Ingress with the same place.
type place struct {
	host string
	path pathMatch
}

func (b *builder) addIngresses(ingresses []*networkingv1.Ingress) {
	canaries := map[place]ingressBackend{}
	for _, i := range ingresses {
		if !served(i) || !isCanary(i) {
			continue
		}
		for _, c := range b.backendsOf(i) {
			// ingress-nginx uses one canary for each place.
			if _, taken := canaries[c.place]; !taken {
				canaries[c.place] = c
			}
		}
	}
	for _, i := range ingresses {
		if !served(i) || isCanary(i) {
			continue
		}
		for _, main := range b.backendsOf(i) {
			b.addIngress(main, canaries)
		}
	}
}

// addIngress adds the route of a place. A canary that does not exist or has no ready pod is left out, as in ingress-nginx,
// whose balancer has no backends without endpoints.
func (b *builder) addIngress(main ingressBackend, canaries map[place]ingressBackend) {
	r := route{
		host:     hostMatch{pattern: main.place.host, oneLabel: true},
		path:     main.place.path,
		backends: []*backend{main.backend},
	}
	if main.backend != nil {
		b.pods(*main.backend)
	}
	weights := []int{1}
	c, ok := canaries[main.place]
	if ok && c.backend != nil && len(b.pods(*c.backend).addresses) > 0 {
		r.backends = append(r.backends, c.backend)
		r.canary = ruleOf(c.ingress)
		weights = weightsOf(c.ingress)
	}
	r.session = sessionOf(main.ingress, c.ingress)
	name := []string{"ingress", main.ingress.Namespace, main.ingress.Name, main.place.host, main.place.path.value}
	r.split = b.splits.of(strings.Join(name, " "), weights)
	b.table.routes = append(b.table.routes, r)
}

// ingressBackend is a backend and its place; backend is nil if it does not exist.
type ingressBackend struct {
	ingress *networkingv1.Ingress
	place   place
	backend *backend
}

func (b *builder) backendsOf(i *networkingv1.Ingress) []ingressBackend {
	var found []ingressBackend
	add := func(p place, of *networkingv1.IngressBackend) {
		found = append(found, ingressBackend{ingress: i, place: p, backend: b.ingressService(i.Namespace, of)})
	}
	for _, rule := range i.Spec.Rules {
		if rule.HTTP == nil {
			continue
		}
		for _, p := range rule.HTTP.Paths {
			exact := p.PathType != nil && *p.PathType == networkingv1.PathTypeExact
			add(place{host: rule.Host, path: pathMatch{value: orRoot(p.Path), exact: exact}}, &p.Backend)
		}
	}
	if i.Spec.DefaultBackend != nil {
		add(place{path: pathMatch{value: "/"}}, i.Spec.DefaultBackend)
	}
	return found
}

func (b *builder) ingressService(namespace string, of *networkingv1.IngressBackend) *backend {
	if of.Service == nil {
		return nil
	}
	port := of.Service.Port
	return b.services.find(types.NamespacedName{Namespace: namespace, Name: of.Service.Name}, port.Name, port.Number)
}

func orRoot(path string) string {
	if path == "" {
		return "/"
	}
	return path
}

func served(i *networkingv1.Ingress) bool {
	class, annotated := i.Annotations["kubernetes.io/ingress.class"]
	if i.Spec.IngressClassName != nil {
		class, annotated = *i.Spec.IngressClassName, true
	}
	return !annotated || class == ingressClass
}

func isCanary(i *networkingv1.Ingress) bool {
	is, err := strconv.ParseBool(i.Annotations[canaryAnnotation])
	return err == nil && is
}

// weightsOf returns the weights of the stable and the canary backend. Values that are not numbers are ignored, as in
// ingress-nginx.
func weightsOf(canary *networkingv1.Ingress) []int {
	number := func(annotation string, otherwise int) int {
		n, err := strconv.Atoi(strings.TrimSpace(canary.Annotations[annotation]))
		if err != nil || n < 0 {
			return otherwise
		}
		return n
	}
	total := number(weightTotalAnnotation, 100)
	weight := min(number(weightAnnotation, 0), total)
	return []int{total - weight, weight}
}

// ruleOf returns a canary's rules for headers and cookies. A pattern that does not compile matches nothing.
func ruleOf(canary *networkingv1.Ingress) *canaryRule {
	rule := &canaryRule{
		header: canary.Annotations[headerAnnotation],
		value:  canary.Annotations[headerValueAnnotation],
		cookie: canary.Annotations[cookieAnnotation],
	}
	if pattern := canary.Annotations[headerPatternAnnotation]; pattern != "" {
		compiled, err := regexp.Compile(pattern)
		if err != nil {
			compiled = regexp.MustCompile(`[^\s\S]`)
		}
		rule.pattern = compiled
	}
	if rule.header == "" && rule.cookie == "" {
		return nil
	}
	return rule
}
