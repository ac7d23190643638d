package traffic

import (
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/upcommerce/backout/rollback"
)

// router is one kind of router: how the canary's weight stands in its objects.
// None of its methods asks anything of the cluster, and none but hold changes an
// object.
type router interface {
	// leads reports whether the object leads to the canary. An error says that it
	// may, and between which backends a person has to choose.
	leads(object *unstructured.Unstructured, c canary) (bool, error)
	// look returns the canary's weights as they are, and who would have to take
	// over. The neighbours are the other objects of the kind in the namespace,
	// where kind.neighbours asks for them.
	look(live *unstructured.Unstructured, c canary, neighbours []unstructured.Unstructured) ([]rollback.Weight, []burden)
	// portions returns what the weights come to in percent, under the same names.
	portions(live *unstructured.Unstructured, c canary, neighbours []unstructured.Unstructured) []portion
	// shed returns what makes the canary get nothing; no operation if that is so
	// already.
	shed(live *unstructured.Unstructured, c canary) (edit, error)
	// raise returns what makes the weights the declared ones, or, if nothing is
	// declared, those that a shed found.
	raise(live, declared *unstructured.Unstructured, c canary) (edit, error)
	// hold sets the canary's weight to zero in an object that is not yet written.
	hold(object *unstructured.Unstructured, c canary)
}

// kind is one kind of routing object.
type kind struct {
	name     string
	resource string
	// version is that under which objects are found which no manifest declares.
	version string
	router  router
	// neighbours says that look and portions need the other objects of the kind.
	neighbours bool
}

// kinds returns every kind of routing object that is known.
func kinds() map[schema.GroupKind]kind {
	all := make(map[schema.GroupKind]kind)
	add := func(group, name string, k kind) {
		k.name = name
		all[schema.GroupKind{Group: group, Kind: name}] = k
	}
	add("networking.k8s.io", "Ingress", kind{resource: "ingresses", version: "v1", router: ingressNGINX{}, neighbours: true})
	add("gateway.networking.k8s.io", "HTTPRoute", kind{resource: "httproutes", version: "v1", router: gatewayAPI()})
	add("gateway.networking.k8s.io", "GRPCRoute", kind{resource: "grpcroutes", version: "v1", router: gatewayAPI()})
	add("networking.istio.io", "VirtualService", kind{resource: "virtualservices", version: "v1beta1", router: istio()})
	// The second group is that of Traefik 2.
	for _, group := range []string{"traefik.io", "traefik.containo.us"} {
		routes := traefik("spec.routes.*.services", "route")
		add(group, "TraefikService", kind{resource: "traefikservices", version: "v1alpha1", router: traefik("spec.weighted.services", "weighted")})
		add(group, "IngressRoute", kind{resource: "ingressroutes", version: "v1alpha1", router: routes})
		add(group, "IngressRouteTCP", kind{resource: "ingressroutetcps", version: "v1alpha1", router: routes})
	}
	add("projectcontour.io", "HTTPProxy", kind{resource: "httpproxies", version: "v1", router: contour()})
	add("apps", deploymentKind, kind{resource: "deployments", version: "v1", router: plainService{}, neighbours: true})
	return all
}

// route is one routing object that leads to the canary.
type route struct {
	kind     kind
	resource schema.GroupVersionResource
	name     string
	// declared is the object as the manifest has it; nil if it has not.
	declared *unstructured.Unstructured
	canary   canary
	// unclear says that nobody knows which side of the declared object is the canary,
	// and between which a person has to choose; nil if that is known.
	unclear error
}

// declaredRoutes returns the routing objects of the manifest that lead to the
// canary, or may. There is an error for each that lies outside the release's
// namespace: those are never touched.
func declaredRoutes(k rollback.Key, m rollback.Manifest, c canary) ([]route, error) {
	known := kinds()
	var routes []route
	var errs []error
	for _, object := range m {
		o := &unstructured.Unstructured{Object: object}
		gvk := o.GroupVersionKind()
		kind, ok := known[gvk.GroupKind()]
		if !ok {
			continue
		}
		leads, unclear := kind.router.leads(o, c.on(o))
		if !leads && unclear == nil {
			continue
		}
		if ns := o.GetNamespace(); ns != "" && ns != k.Namespace {
			errs = append(errs, fmt.Errorf("%s %s/%s lies outside the release's namespace %s: set its weight by hand",
				o.GetKind(), ns, o.GetName(), k.Namespace))
			continue
		}
		routes = append(routes, route{
			kind: kind, resource: gvk.GroupVersion().WithResource(kind.resource), name: o.GetName(), declared: o, canary: c, unclear: unclear,
		})
	}
	return routes, errors.Join(errs...)
}
