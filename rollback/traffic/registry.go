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
	// older are the versions under which earlier releases serve the kind, newest first.
	older  []string
	router router
	// neighbours says that observe and shares need the other objects of the kind.
	neighbours bool
}

// versions returns the API versions, in the order in which backout tries them.
func (k kind) versions() []string { return append([]string{k.version}, k.older...) }

// registry is every kind of routing object that backout knows.
type registry map[schema.GroupKind]kind

// newRegistry returns the registry. A new router gets its line here.
func newRegistry() registry {
	all := make(registry)
	add := func(group, name string, k kind) {
		k.name = name
		all[schema.GroupKind{Group: group, Kind: name}] = k
	}
	add("networking.k8s.io", "Ingress", kind{resource: "ingresses", version: "v1", router: ingress{aws: awsLBC(), skipper: skipper()}, neighbours: true})
	add("gateway.networking.k8s.io", "HTTPRoute", kind{resource: "httproutes", version: "v1", router: gatewayAPI()})
	add("gateway.networking.k8s.io", "GRPCRoute", kind{resource: "grpcroutes", version: "v1", router: gatewayAPI()})
	add("gateway.networking.k8s.io", "TLSRoute", kind{resource: "tlsroutes", version: "v1", older: []string{"v1alpha3", "v1alpha2"}, router: gatewayAPI()})
	add("gateway.networking.k8s.io", "TCPRoute", kind{resource: "tcproutes", version: "v1alpha2", router: gatewayAPI()})
	add("gateway.networking.k8s.io", "UDPRoute", kind{resource: "udproutes", version: "v1alpha2", router: gatewayAPI()})
	add("networking.istio.io", "VirtualService", kind{resource: "virtualservices", version: "v1beta1", router: istio()})
	// The second group is that of Traefik 2.
	for _, group := range []string{"traefik.io", "traefik.containo.us"} {
		routes := traefik("spec.routes.*.services", "route")
		add(group, "TraefikService", kind{resource: "traefikservices", version: "v1alpha1", router: traefik("spec.weighted.services", "weighted")})
		add(group, "IngressRoute", kind{resource: "ingressroutes", version: "v1alpha1", router: routes})
		add(group, "IngressRouteTCP", kind{resource: "ingressroutetcps", version: "v1alpha1", router: routes})
	}
	add("projectcontour.io", "HTTPProxy", kind{resource: "httpproxies", version: "v1", router: contour()})
	add("k8s.nginx.org", "VirtualServer", kind{resource: "virtualservers", version: "v1", router: nginx("spec.routes", "route")})
	add("k8s.nginx.org", "VirtualServerRoute", kind{resource: "virtualserverroutes", version: "v1", router: nginx("spec.subroutes", "subroute")})
	add("route.openshift.io", "Route", kind{resource: "routes", version: "v1", router: openshift()})
	add("zalando.org", "RouteGroup", kind{resource: "routegroups", version: "v1", router: routeGroup()})
	add("keda.sh", scaledObjectKind, kind{resource: "scaledobjects", version: "v1alpha1", router: keda{}})
	add("apps", deploymentKind, kind{resource: "deployments", version: "v1", router: plainService{}, neighbours: true})
	return all
}
