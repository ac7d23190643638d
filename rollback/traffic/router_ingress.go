package traffic

import (
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/upcommerce/backout/rollback"
)

// ingress is an Ingress of any controller: its annotations say which one reads weights there.
type ingress struct {
	nginx        ingressNGINX
	aws, skipper annotated
}

// of returns the router that reads the weights of the object.
func (r ingress) of(object *unstructured.Unstructured) router {
	if leads, _ := r.nginx.leads(object, canary{}); leads {
		return r.nginx
	}
	for name := range object.GetAnnotations() {
		switch {
		case strings.HasPrefix(name, actionAnnotation):
			return r.aws
		case name == weightsAnnotation:
			return r.skipper
		}
	}
	return r.nginx
}

// weightedOf returns a router with lists of backends, and the object in which it reads them;
// false for a router without lists.
func weightedOf(r router, object *unstructured.Unstructured) (weighted, *unstructured.Unstructured, bool) {
	if all, ok := r.(ingress); ok {
		r = all.of(object)
	}
	switch r := r.(type) {
	case weighted:
		return r, object, true
	case annotated:
		v := r.view(object)
		return r.of(v), v, true
	default:
		return weighted{}, nil, false
	}
}

func (r ingress) leads(object *unstructured.Unstructured, c canary) (bool, error) {
	return r.of(object).leads(object, c)
}

func (r ingress) observe(live *unstructured.Unstructured, c canary, neighbours []unstructured.Unstructured) ([]rollback.Weight, []load) {
	return r.of(live).observe(live, c, neighbours)
}

func (r ingress) shares(live *unstructured.Unstructured, c canary, neighbours []unstructured.Unstructured) []share {
	return r.of(live).shares(live, c, neighbours)
}

func (r ingress) shed(live *unstructured.Unstructured, c canary) (edit, error) {
	return r.of(live).shed(live, c)
}

func (r ingress) restore(live, declared *unstructured.Unstructured, c canary) (edit, error) {
	return r.of(live).restore(live, declared, c)
}

func (r ingress) unmark(live *unstructured.Unstructured, c canary) ([]operation, error) {
	return r.of(live).unmark(live, c)
}

func (r ingress) hold(object, live *unstructured.Unstructured, c canary) {
	r.of(object).hold(object, live, c)
}
