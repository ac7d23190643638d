package traffic

import (
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/upcommerce/backout/rollback"
)

// How a canary's Service is known: its selector picks pods of the canary track,
// or its name says so.
const (
	trackLabel   = "track"
	trackCanary  = "canary"
	canarySuffix = "-canary"
)

// backends are the names of the Services of one side of the traffic.
type backends map[string]bool

// route is one routing object of a manifest that leads to a canary.
type route struct {
	router   router
	declared *unstructured.Unstructured
	canaries backends
}

// canaryBackends returns the canary's Services: those whose selector picks the
// canary track; if there is none, those that are named like one.
func canaryBackends(m rollback.Manifest) backends {
	tracked, named := make(backends), make(backends)
	for _, object := range m {
		o := &unstructured.Unstructured{Object: object}
		if o.GetKind() != "Service" || o.GroupVersionKind().Group != "" {
			continue
		}
		selector, _, _ := unstructured.NestedStringMap(o.Object, "spec", "selector")
		if selector[trackLabel] == trackCanary {
			tracked[o.GetName()] = true
		}
		if strings.HasSuffix(o.GetName(), canarySuffix) {
			named[o.GetName()] = true
		}
	}
	if len(tracked) > 0 {
		return tracked
	}
	return named
}

// canaryRoutes returns the routing objects of the manifest that lead to the
// canary, together with an error for each that lies outside the release's
// namespace: those are never touched.
func canaryRoutes(k rollback.Key, m rollback.Manifest) ([]route, error) {
	canaries := canaryBackends(m)
	kinds := routers()
	var routes []route
	var errs []error
	for _, object := range m {
		o := &unstructured.Unstructured{Object: object}
		kind, ok := kinds[o.GroupVersionKind().GroupKind()]
		if !ok || !kind.leads(o, canaries) {
			continue
		}
		if ns := o.GetNamespace(); ns != "" && ns != k.Namespace {
			errs = append(errs, fmt.Errorf("%s %s/%s lies outside the release's namespace %s: set its weight by hand",
				o.GetKind(), ns, o.GetName(), k.Namespace))
			continue
		}
		routes = append(routes, route{router: kind, declared: o, canaries: canaries})
	}
	return routes, errors.Join(errs...)
}

// annotate returns what sets one annotation.
func annotate(live *unstructured.Unstructured, name, value string) operation {
	if live.GetAnnotations() == nil {
		return operation{Op: "add", Path: "/metadata/annotations", Value: map[string]string{name: value}}
	}
	return operation{Op: "add", Path: annotationPath(name), Value: value}
}

// release returns what takes the mark of a hold from an object that has one.
func release(live *unstructured.Unstructured) []operation {
	if _, held := live.GetAnnotations()[heldAnnotation]; !held {
		return nil
	}
	return []operation{{Op: "remove", Path: annotationPath(heldAnnotation)}}
}

// annotationPath is the JSON Pointer (RFC 6901) of an annotation.
func annotationPath(name string) string {
	return "/metadata/annotations/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}
