package traffic

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/upcommerce/backout/rollback"
)

// routeAnnotation is set by operators on one of the release's Services: a routing object
// that is not part of the release, "HTTPRoute/shop"; several are separated by commas.
const routeAnnotation = rollback.RouteAnnotation

// canaryOf finds the canary's side in a manifest.
func (r registry) canaryOf(m rollback.Manifest, t rollback.Track) canary {
	workloads, services := workloadsOf(m, t), servicesOf(m)
	c := canary{
		track: t, services: sets.New[string](), subsets: make(map[string]labels.Set), ownServices: sets.New[string](), workloads: workloads,
		deployments: sets.New[string](), others: sets.New[string](), autoscaled: scaledBy(m), selectors: make(map[string]labels.Set),
		sessions: slices.ContainsFunc(m, func(object rollback.Object) bool { return keepsSessions(&unstructured.Unstructured{Object: object}) }),
	}
	for _, s := range services {
		c.ownServices.Insert(s.name)
		c.selectors[s.name] = s.selector
	}
	for _, w := range workloads {
		c.shifted = c.shifted || w.declared.Tool != ""
		c.tracked = c.tracked || w.canary
		c.services.Insert(w.declared.Services...)
	}
	if c.shifted {
		c.tracked = false
		return c
	}
	for _, s := range services {
		if c.onlyCanary(s) {
			c.services.Insert(s.name)
		}
	}
	c.addSubsets(m, services)
	if len(c.services) == 0 {
		for _, s := range services {
			if strings.HasSuffix(s.name, rollback.CanarySuffix) {
				c.services.Insert(s.name)
				c.guessed = true
			}
		}
	}
	if len(c.services) == 0 && len(namedRoutes(m)) == 0 && !r.routed(m, c) {
		for _, s := range services {
			c.share(s, workloads)
		}
	}
	return c
}

// routed reports whether a routing object of the manifest leads to the canary, or may.
func (r registry) routed(m rollback.Manifest, c canary) bool {
	for _, object := range m {
		o := &unstructured.Unstructured{Object: object}
		if kind, ok := r[o.GroupVersionKind().GroupKind()]; ok {
			if leads, err := kind.router.leads(o, c.on(o)); leads || err != nil {
				return true
			}
		}
	}
	return false
}

// namedRoutes returns the routes that the manifest's Services name by routeAnnotation, each
// once.
func namedRoutes(m rollback.Manifest) []string {
	var all []string
	for _, object := range m {
		o := &unstructured.Unstructured{Object: object}
		if o.GetKind() != "Service" {
			continue
		}
		for name := range strings.SplitSeq(o.GetAnnotations()[routeAnnotation], ",") {
			if name = strings.TrimSpace(name); name != "" && !slices.Contains(all, name) {
				all = append(all, name)
			}
		}
	}
	return all
}

// route is one routing object that leads to the canary.
type route struct {
	kind     kind
	resource schema.GroupVersionResource
	name     string
	// declared is the object in the manifest; nil if the manifest does not have it.
	declared *unstructured.Unstructured
	// object is the one by which the route was found: the declared or a live one.
	object *unstructured.Unstructured
	canary canary
	// ambiguous names the backends of the declared object between which an operator has to
	// choose; nil if the canary's side is known.
	ambiguous error
}

// declaredRoutes returns the routing objects of the manifest that lead to the canary, or
// may. backout never touches an object outside the release's namespace: there is an error
// for each.
func (r registry) declaredRoutes(k rollback.Key, m rollback.Manifest, c canary) ([]route, error) {
	var routes []route
	var errs []error
	for _, object := range m {
		o := &unstructured.Unstructured{Object: object}
		gvk := o.GroupVersionKind()
		kind, ok := r[gvk.GroupKind()]
		if !ok {
			continue
		}
		leads, ambiguous := kind.router.leads(o, c.on(o))
		elsewhere := o.GetNamespace() != "" && o.GetNamespace() != k.Namespace
		if elsewhere && !leads && ambiguous == nil {
			leads, ambiguous = leadsFromElsewhere(kind, o, k, c)
		}
		if !leads && ambiguous == nil {
			continue
		}
		if ns := o.GetNamespace(); elsewhere {
			errs = append(errs, fmt.Errorf("%s %s/%s is outside the release's namespace %s: set its weight manually",
				o.GetKind(), ns, o.GetName(), k.Namespace))
			continue
		}
		routes = append(routes, route{
			kind: kind, resource: gvk.GroupVersion().WithResource(kind.resource), name: o.GetName(), declared: o, object: o, canary: c, ambiguous: ambiguous,
		})
	}
	return routes, errors.Join(errs...)
}

// leadsFromElsewhere reports whether an object of another namespace leads to the canary in that of
// the release, or may.
func leadsFromElsewhere(kind kind, o *unstructured.Unstructured, k rollback.Key, c canary) (bool, error) {
	here := &unstructured.Unstructured{Object: runtime.DeepCopyJSON(o.Object)}
	here.SetNamespace(k.Namespace)
	return kind.router.leads(here, c.on(here))
}
