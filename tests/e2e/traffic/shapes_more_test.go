package traffic

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// tlsRoute is a TLSRoute, which has to have a host name and has one rule.
func tlsRoute() shape {
	s := lists{
		head:  "apiVersion: gateway.networking.k8s.io/v1\nkind: TLSRoute\nmetadata: {name: shop}\n",
		whole: each("spec: {hostnames: [shop.example], rules: [", "{backendRefs: %l}", "]}"),
		each:  weighted("{name: %s, port: 80%s}"), path: "spec.rules.*.backendRefs", implied: "1",
	}.shape("TLSRoute", services)
	delete(s.forms, several)
	return s
}

// virtualServer is a VirtualServer or a VirtualServerRoute of NGINX Ingress Controller. A match on a
// header has splits of its own.
func virtualServer(kind, routes string) shape {
	const upstreams = "upstreams: [{name: shop, service: shop, port: 80}, {name: shop-canary, service: shop-canary, port: 80}, {name: beta, service: beta, port: 80}]"
	l := lists{
		head:  "apiVersion: k8s.nginx.org/v1\nkind: " + kind + "\nmetadata: {name: shop}\n",
		whole: each("spec: {host: shop.example, "+upstreams+", "+routes+": [", "{path: /%i, splits: %l}", "]}"),
		each: func(name, weight string) string {
			return fmt.Sprintf("{weight: %s, action: {pass: %s}}", weight, name)
		},
		path: "spec." + routes + ".*.splits", hundred: true,
	}
	s := l.shape(kind, services)
	split := func(stable, canary string) string {
		return "[" + l.each("shop", stable) + ", " + l.each("shop-canary", canary) + "]"
	}
	s.forms[byHeader] = form{
		text: l.head + "spec: {host: shop.example, " + upstreams + ", " + routes + ": [{path: /, splits: " + split("80", "20") +
			", matches: [{conditions: [{header: x-canary, value: yes}], splits: " + split("0", "100") + "}]}]}",
		shed: "100 0 | 100 0",
	}
	s.render = func(o *unstructured.Unstructured) string {
		all := render(o.Object, []string{"spec", routes, "*", "splits"})
		return strings.Join(append(all, render(o.Object, []string{"spec", routes, "*", "matches", "*", "splits"})...), " | ")
	}
	return s
}

// openshiftRoute is OpenShift's Route. Its first backend is apart from the others.
func openshiftRoute() shape {
	s := lists{
		head: "apiVersion: route.openshift.io/v1\nkind: Route\nmetadata: {name: shop}\n",
		whole: func(all []string) string {
			to, others, _ := strings.Cut(strings.TrimPrefix(all[0], "["), "}, ")
			return "spec: {host: shop.example, to: " + to + "}, alternateBackends: [" + others + "}"
		},
		each: weighted("{kind: Service, name: %s%s}"), implied: "100",
	}.shape("Route", services)
	s.render = func(o *unstructured.Unstructured) string {
		to, _, _ := unstructured.NestedFieldNoCopy(o.Object, "spec", "to")
		others, _, _ := unstructured.NestedSlice(o.Object, "spec", "alternateBackends")
		return render(append([]any{to}, others...), nil)[0]
	}
	return s
}

// routeGroup is Skipper's RouteGroup.
func routeGroup() shape {
	backends := "backends: [{name: shop, type: service, serviceName: shop, servicePort: 80}, " +
		"{name: shop-canary, type: service, serviceName: shop-canary, servicePort: 80}, {name: beta, type: service, serviceName: beta, servicePort: 80}]"
	return lists{
		head:  "apiVersion: zalando.org/v1\nkind: RouteGroup\nmetadata: {name: shop}\n",
		whole: each("spec: {hosts: [shop.example], "+backends+", routes: [", "{pathSubtree: /%i, backends: %l}", "]}"),
		each:  weighted("{backendName: %s%s}"), path: "spec.routes.*.backends", implied: "even",
	}.shape("RouteGroup", services)
}

// annotatedIngress is an Ingress with the annotations, and with backends at those paths.
func annotatedIngress(annotations []string, backends ...[2]string) string {
	var paths []string
	for _, backend := range backends {
		paths = append(paths, fmt.Sprintf("{path: %s, pathType: Prefix, backend: {service: %s}}", backend[0], backend[1]))
	}
	return "apiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {name: shop, annotations: {" + strings.Join(annotations, ", ") +
		"}}\nspec: {rules: [{host: shop.example, http: {paths: [" + strings.Join(paths, ", ") + "]}}]}"
}

// awsIngress is an Ingress with an action of the AWS Load Balancer Controller for each path.
func awsIngress() shape {
	const prefix = "alb.ingress.kubernetes.io/actions."
	s := lists{
		whole: func(all []string) string {
			var annotations []string
			var backends [][2]string
			for i, list := range all {
				annotations = append(annotations, fmt.Sprintf(`%ssplit-%d: '{"type":"forward","forwardConfig":{"targetGroups":%s}}'`, prefix, i, list))
				backends = append(backends, [2]string{fmt.Sprintf("/%d", i), fmt.Sprintf("{name: split-%d, port: {name: use-annotation}}", i)})
			}
			return annotatedIngress(annotations, backends...)
		},
		each: func(name, weight string) string {
			return fmt.Sprintf(`{"serviceName":"%s","servicePort":80,"weight":%s}`, name, weight)
		},
		path: "*",
	}.shape("Ingress AWS", services)
	s.render = func(o *unstructured.Unstructured) string {
		var all []string
		for _, name := range slices.Sorted(maps.Keys(o.GetAnnotations())) {
			var action map[string]any
			if strings.HasPrefix(name, prefix) && json.Unmarshal([]byte(o.GetAnnotations()[name]), &action) == nil {
				all = append(all, render(action, []string{"forwardConfig", "targetGroups"})...)
			}
		}
		return strings.Join(all, " | ")
	}
	return s
}

// skipperIngress is an Ingress with Skipper's weights, of backends at one path each.
func skipperIngress() shape {
	const annotation = "zalando.org/backend-weights"
	s := lists{
		whole: func(all []string) string {
			fields := strings.NewReplacer("[", "", "]", "", ", |", "", "|", "").Replace(all[0])
			return annotatedIngress([]string{annotation + ": '{" + fields + "}'"},
				[2]string{"/", "{name: shop, port: {number: 80}}"}, [2]string{"/", "{name: shop-canary, port: {number: 80}}"})
		},
		each: func(name, weight string) string {
			if weight == "" {
				return "|"
			}
			return fmt.Sprintf("%q: %s", name, weight)
		},
		implied: "even",
	}.shape("Ingress Skipper", services)
	s.render = func(o *unstructured.Unstructured) string {
		var weights map[string]float64
		_ = json.Unmarshal([]byte(o.GetAnnotations()[annotation]), &weights)
		names, all := []string{"shop", "shop-canary"}, []string(nil)
		if _, ok := weights["beta"]; ok {
			names = append([]string{"beta"}, names...)
		}
		for _, name := range names {
			weight, ok := weights[name]
			if !ok {
				all = append(all, "-")
				continue
			}
			all = append(all, fmt.Sprint(weight))
		}
		return strings.Join(all, " ")
	}
	return s
}
