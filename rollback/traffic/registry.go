package traffic

import (
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// kind is one kind of routing object.
type kind struct {
	name     string
	resource string
	// version is the API version under which backout finds objects that no manifest declares.
	version string
	router  router
	// neighbours says that observe and shares need the other objects of the kind.
	neighbours bool
}

// registry is every kind of routing object that backout knows.
type registry map[schema.GroupKind]kind

// newRegistry returns the registry. A new router gets its line here.
func newRegistry() registry {
	all := make(registry)
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
