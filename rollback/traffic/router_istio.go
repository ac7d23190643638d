package traffic

import (
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/upcommerce/backout/rollback"
)

// istio is Istio's VirtualService: each of its HTTP, TCP and TLS routes has a list of
// destinations. A destination without a weight gets no traffic, unless it is the only one.
// https://istio.io/latest/docs/reference/config/networking/virtual-service/
func istio() weighted {
	return weighted{
		lists: []listPath{
			{path: "spec.http.*.route", label: "http"},
			{path: "spec.tcp.*.route", label: "tcp"},
			{path: "spec.tls.*.route", label: "tls"},
		},
		absent: 0,
		read: func(object *unstructured.Unstructured, entry map[string]any) backend {
			host, _, _ := unstructured.NestedString(entry, "destination", "host")
			subset, _, _ := unstructured.NestedString(entry, "destination", "subset")
			b := backend{name: host, key: "/destination/host", value: host, service: hostService(object, host)}
			if b.service != "" {
				b.name = b.service
			}
			if subset != "" {
				b.name += "/" + subset
				b.key, b.value = "/destination/subset", subset
			}
			return b
		},
	}
}

// hostService returns the Service of the object's namespace that a host names: "shop",
// "shop.prod", "shop.prod.svc", "shop.prod.svc.cluster.local"; "" if it names another host.
func hostService(object *unstructured.Unstructured, host string) string {
	name, rest, _ := strings.Cut(host, ".")
	namespace, domain, _ := strings.Cut(rest, ".")
	if !inNamespaceOf(object, namespace) || domain != "" && domain != "svc" && !strings.HasPrefix(domain, "svc.") {
		return ""
	}
	return name
}

const destinationRule = "DestinationRule"

// addSubsets adds the pods in each subset of the manifest's DestinationRules. A subset that
// selects none but the canary's pods is the canary's.
func (c canary) addSubsets(m rollback.Manifest, services []service) {
	for _, object := range m {
		o := &unstructured.Unstructured{Object: object}
		if o.GetKind() != destinationRule || o.GroupVersionKind().Group != "networking.istio.io" {
			continue
		}
		host, _, _ := unstructured.NestedString(object, "spec", "host")
		name := hostService(o, host)
		if name == "" {
			continue
		}
		list, _, _ := unstructured.NestedFieldNoCopy(object, "spec", "subsets")
		entries, _ := list.([]any)
		for _, e := range entries {
			entry, _ := e.(map[string]any)
			subset, _, _ := unstructured.NestedString(entry, "name")
			set, _, _ := unstructured.NestedStringMap(entry, "labels")
			s := service{name: name + "/" + subset, selector: set}
			for _, whole := range services {
				if whole.name == name {
					s.selector = labels.Merge(whole.selector, set)
				}
			}
			c.subsets[s.name] = s.selector
			if c.onlyCanary(s) {
				c.services.Insert(s.name)
			}
		}
	}
}
