package traffic

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// gatewayAPI is every router that reads routes of the Gateway API: each rule of a
// route has a list of backends; one without a weight has 1.
// https://gateway-api.sigs.k8s.io/reference/spec/#backendref
func gatewayAPI() weighted {
	return weighted{
		lists:  []place{{path: "spec.rules.*.backendRefs", called: "rule"}},
		absent: 1,
		read: func(object *unstructured.Unstructured, entry map[string]any) backend {
			b := named(entry)
			kind, _ := entry["kind"].(string)
			namespace, _ := entry["namespace"].(string)
			if (kind == "" || kind == "Service") && here(object, namespace) {
				b.service = b.name
			}
			return b
		},
	}
}

// named reads a backend whose entry has its name.
func named(entry map[string]any) backend {
	name, _ := entry["name"].(string)
	return backend{name: name, key: "/name", value: name}
}

// here reports whether a backend's namespace is that of the object. A manifest need
// not say which one that is.
func here(object *unstructured.Unstructured, namespace string) bool {
	return namespace == "" || object.GetNamespace() == "" || namespace == object.GetNamespace()
}
