package traffic

import (
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// nginx is the VirtualServer and the VirtualServerRoute of NGINX Ingress Controller, by the name
// of their list of routes: each route, and each of its matches, has a list of splits, or one
// action. A split refers to an upstream of the object, and that to a Service. The weights of a
// list have to add up to 100, each from 0 to 100; releases before 3.4 reject a 0, and with it the
// object.
// https://github.com/nginx/kubernetes-ingress/blob/main/pkg/apis/configuration/validation/virtualserver.go (validateSplits)
func nginx(routes, label string) weighted {
	match := label + " match"
	return weighted{
		lists: []listPath{
			{path: routes + ".*.splits", label: label, optional: true},
			{path: routes + ".*.action", label: label, optional: true},
			{path: routes + ".*.matches.*.splits", label: match, optional: true},
			{path: routes + ".*.matches.*.action", label: match, optional: true},
		},
		read: func(object *unstructured.Unstructured, entry map[string]any) backend {
			b := upstreamOf(entry)
			list, _, _ := unstructured.NestedFieldNoCopy(object.Object, "spec", "upstreams")
			upstreams, _ := list.([]any)
			for _, u := range upstreams {
				upstream, _ := u.(map[string]any)
				if name, _ := upstream["name"].(string); name != b.value || name == "" {
					continue
				}
				b.name, _ = upstream["service"].(string)
				b.service = b.name
				if pods, ok := upstream["subselector"].(map[string]any); ok && len(pods) > 0 {
					b.name += "/" + b.value
				}
			}
			return b
		},
	}
}

// upstreamOf returns the backend of a split or an action by the name of its upstream; the zero
// backend for an action without one, such as a redirect.
func upstreamOf(entry map[string]any) backend {
	at := ""
	if action, ok := entry["action"].(map[string]any); ok {
		at, entry = "/action", action
	}
	name, _ := entry["pass"].(string)
	key := at + "/pass"
	if name == "" {
		name, _, _ = unstructured.NestedString(entry, "proxy", "upstream")
		key = at + "/proxy/upstream"
	}
	if name == "" {
		return backend{}
	}
	return backend{name: name, key: key, value: name}
}
