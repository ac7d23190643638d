package traffic

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// routeGroup is Skipper's RouteGroup: it has a list of default backends, and each of its routes
// may have its own. An entry refers to a backend of the object, and that to a Service or to an
// address. A backend without a weight gets no traffic, unless no backend of the list has a
// weight: then all get the same.
// https://github.com/zalando/skipper/blob/master/dataclients/kubernetes/traffic.go
func routeGroup() weighted {
	return weighted{
		lists: []listPath{
			{path: "spec.defaultBackends", label: "default"},
			{path: "spec.routes.*.backends", label: "route", optional: true},
		},
		even: true,
		read: func(object *unstructured.Unstructured, entry map[string]any) backend {
			name, _ := entry["backendName"].(string)
			b := backend{name: name, key: "/backendName", value: name}
			list, _, _ := unstructured.NestedFieldNoCopy(object.Object, "spec", "backends")
			backends, _ := list.([]any)
			for _, e := range backends {
				declared, _ := e.(map[string]any)
				kind, _ := declared["type"].(string)
				service, _ := declared["serviceName"].(string)
				if declared["name"] == name && service != "" && (kind == "" || kind == "service") {
					b.name, b.service = service, service
				}
			}
			return b
		},
	}
}
