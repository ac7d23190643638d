package traffic

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// contour is Contour's HTTPProxy: each route has a list of services, and so may the TCP
// proxy. A service without a weight gets no traffic, unless no service of the list has a
// weight: then all get the same.
// https://projectcontour.io/docs/main/config/request-routing/#upstream-weighting
func contour() weighted {
	return weighted{
		lists: []listPath{
			{path: "spec.routes.*.services", label: "route"},
			{path: "spec.tcpproxy.services", label: "tcpproxy"},
		},
		even: true,
		read: func(_ *unstructured.Unstructured, entry map[string]any) backend {
			if mirror, _ := entry["mirror"].(bool); mirror {
				// It gets copies of requests, and its responses are discarded.
				return backend{}
			}
			b := backendByName(entry)
			b.service = b.name
			return b
		},
	}
}
