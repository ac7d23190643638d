package traffic

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// traefik is Traefik's own kinds: a TraefikService has one list of weighted
// services, each route of an IngressRoute may have one. A service without a weight
// has 1, so that a zero has to be written.
// https://doc.traefik.io/traefik/reference/routing-configuration/kubernetes/crd/http/traefikservice/
func traefik(path, called string) weighted {
	return weighted{
		lists:  []place{{path: path, called: called}},
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
