package traffic

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// contour is Contour's HTTPProxy: each route has a list of services, and so may
// the TCP proxy. A service without a weight gets nothing, unless none of the list
// has one: then all get the same.
// https://projectcontour.io/docs/main/config/request-routing/#upstream-weighting
func contour() weighted {
	return weighted{
		lists: []place{
			{path: "spec.routes.*.services", called: "route"},
			{path: "spec.tcpproxy.services", called: "tcpproxy"},
		},
		even: true,
		read: func(_ *unstructured.Unstructured, entry map[string]any) backend {
			if mirror, _ := entry["mirror"].(bool); mirror {
				// It gets copies, and nobody waits for its answers.
				return backend{}
			}
			b := named(entry)
			b.service = b.name
			return b
		},
	}
}
