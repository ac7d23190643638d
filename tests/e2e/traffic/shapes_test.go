package traffic

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// shape is one kind of routing object, as a release has it.
type shape struct {
	name string
	// forms are the ways to write weights, by the name of their case.
	forms map[string]form
	// with are objects that every manifest of the shape has.
	with string
	// render shows the weights of a live object.
	render func(*unstructured.Unstructured) string
	// takeovers are the Services that take over; empty if pods do.
	takeovers []string
}

// form is one way to write the weights of an object.
type form struct {
	// text is the object, with more documents after it if it needs them.
	text string
	// shed is the weights after a shed; "" if the shed is refused.
	shed string
	// unchanged says that a shed writes no weight, but its mark.
	unchanged bool
}

// The forms in the order of the table; not every router has all of them.
const (
	percent  = "80/20"
	other    = "other sum"
	absent   = "absent"
	partial  = "one absent"
	nothing  = "0"
	all      = "all to it"
	three    = "3 backends"
	several  = "2 rules"
	byHeader = "header"
)

func forms() []string {
	return []string{percent, other, absent, partial, nothing, all, three, several, byHeader}
}

const services = `
apiVersion: v1
kind: Service
metadata: {name: shop}
spec: {selector: {app: shop, track: stable}, ports: [{name: http, port: 80}]}
---
apiVersion: v1
kind: Service
metadata: {name: shop-canary}
spec: {selector: {app: shop, track: canary}, ports: [{name: http, port: 80}]}`

// lists is a router whose objects have lists of weighted backends.
type lists struct {
	head string
	// whole makes the object from its lists; each makes an entry from a name and a
	// weight, "" for none.
	whole func(all []string) string
	each  func(name, weight string) string
	// path is the path of the lists, with * for every entry.
	path string
	// implied is the value of an absent weight: "1"; "0"; "100"; "even": 0, but equal weights
	// if all are absent; "" if each has to have one.
	implied string
	// hundred says that the weights of a list have to add up to 100.
	hundred bool
}

// shape returns the router with every form.
func (l lists) shape(name, with string) shape {
	object := func(weights ...[]string) string {
		var all []string
		for _, list := range weights {
			names := []string{"shop", "shop-canary"}
			if len(list) == 3 {
				names = []string{"beta", "shop", "shop-canary"}
			}
			var entries []string
			for i, w := range list {
				entries = append(entries, l.each(names[i], w))
			}
			all = append(all, "["+strings.Join(entries, ", ")+"]")
		}
		return l.head + l.whole(all)
	}
	few, alone, first, whole := []string{"3", "1"}, []string{"0", "20"}, []string{"9", "1"}, []string{"4", "10"}
	if l.hundred {
		few, alone, first, whole = []string{"97", "3"}, []string{"0", "100"}, []string{"90", "10"}, []string{"100", "100"}
	}
	s := shape{name: name, with: with, takeovers: []string{"shop"}, forms: map[string]form{
		percent: {text: object([]string{"80", "20"}), shed: "100 0"},
		other:   {text: object(few), shed: whole[0] + " 0"},
		nothing: {text: object([]string{"100", "0"}), shed: "100 0", unchanged: true},
		all:     {text: object(alone)},
		three:   {text: object([]string{"10", "70", "20"}), shed: "10 90 0"},
	}}
	switch l.implied {
	case "":
	case "100":
		s.forms[absent] = form{text: object([]string{"", ""}), shed: "200 0"}
		s.forms[partial] = form{text: object([]string{"80", ""}), shed: "180 0"}
	case "1":
		s.forms[absent] = form{text: object([]string{"", ""}), shed: "2 0"}
		s.forms[partial] = form{text: object([]string{"80", ""}), shed: "81 0"}
	case "0":
		s.forms[absent] = form{text: object([]string{"", ""}), shed: "- -", unchanged: true}
		s.forms[partial] = form{text: object([]string{"80", ""}), shed: "80 -", unchanged: true}
	default:
		s.forms[absent] = form{text: object([]string{"", ""}), shed: "2 0"}
		s.forms[partial] = form{text: object([]string{"80", ""}), shed: "80 -", unchanged: true}
	}
	if strings.Contains(l.path, "*") {
		s.forms[several] = form{text: object(first, []string{"50", "50"}), shed: whole[1] + " 0 | 100 0"}
	}
	s.render = func(o *unstructured.Unstructured) string {
		return strings.Join(render(o.Object, strings.Split(l.path, ".")), " | ")
	}
	return s
}

// render shows the weights of every list below a path.
func render(node any, path []string) []string {
	if len(path) == 0 {
		var weights []string
		list, _ := node.([]any)
		for _, e := range list {
			weight := "-"
			if w, ok := e.(map[string]any)["weight"]; ok {
				weight = fmt.Sprint(w)
			}
			weights = append(weights, weight)
		}
		return []string{strings.Join(weights, " ")}
	}
	if path[0] != "*" {
		fields, _ := node.(map[string]any)
		return render(fields[path[0]], path[1:])
	}
	var found []string
	list, _ := node.([]any)
	for _, e := range list {
		found = append(found, render(e, path[1:])...)
	}
	return found
}

// weighted makes entries in that format, with ", weight: N" if they have a weight.
func weighted(format string) func(name, weight string) string {
	return func(name, weight string) string {
		if weight != "" {
			weight = ", weight: " + weight
		}
		return fmt.Sprintf(format, name, weight)
	}
}

// each makes objects whose lists are in entries of another list.
func each(before, entry, after string) func([]string) string {
	return func(lists []string) string {
		var entries []string
		for i, l := range lists {
			entries = append(entries, strings.NewReplacer("%i", fmt.Sprint(i), "%l", l).Replace(entry))
		}
		return before + strings.Join(entries, ", ") + after
	}
}

// shapes returns every kind of route that backout supports.
func shapes() []shape {
	gateway := func(kind, version string) shape {
		return lists{
			head:  "apiVersion: gateway.networking.k8s.io/" + version + "\nkind: " + kind + "\nmetadata: {name: shop}\n",
			whole: each("spec: {rules: [", "{backendRefs: %l}", "]}"), each: weighted("{name: %s, port: 80%s}"),
			path: "spec.rules.*.backendRefs", implied: "1",
		}.shape(kind, services)
	}
	istio := func(name, entry, list, path, with string) shape {
		return lists{
			head:  "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: shop}\n",
			whole: each("spec: {hosts: [shop.example], "+list+": [", entry, "]}"), each: weighted("{destination: {host: %s}%s}"),
			path: path, implied: "0",
		}.shape(name, with)
	}
	return []shape{
		gateway("HTTPRoute", "v1"), gateway("GRPCRoute", "v1"), tlsRoute(), gateway("TCPRoute", "v1alpha2"), gateway("UDPRoute", "v1alpha2"),
		ingress(), awsIngress(), skipperIngress(),
		istio("VirtualService http", "{route: %l}", "http", "spec.http.*.route", services),
		istio("VirtualService tcp", "{route: %l}", "tcp", "spec.tcp.*.route", services),
		istio("VirtualService tls", "{match: [{port: 443, sniHosts: [shop.example]}], route: %l}", "tls", "spec.tls.*.route", services),
		subsets(),
		lists{
			head:  "apiVersion: traefik.io/v1alpha1\nkind: TraefikService\nmetadata: {name: shop}\n",
			whole: func(all []string) string { return "spec: {weighted: {services: " + all[0] + "}}" },
			each:  weighted("{name: %s, port: 80%s}"), path: "spec.weighted.services", implied: "1",
		}.shape("TraefikService", services),
		lists{
			head:  "apiVersion: traefik.io/v1alpha1\nkind: IngressRoute\nmetadata: {name: shop}\n",
			whole: each("spec: {routes: [", "{match: 'PathPrefix(`/%i`)', kind: Rule, services: %l}", "]}"),
			each:  weighted("{name: %s, port: 80%s}"), path: "spec.routes.*.services", implied: "1",
		}.shape("IngressRoute", services),
		lists{
			head:  "apiVersion: projectcontour.io/v1\nkind: HTTPProxy\nmetadata: {name: shop}\n",
			whole: each("spec: {virtualhost: {fqdn: shop.example}, routes: [", "{conditions: [{prefix: /%i}], services: %l}", "]}"),
			each:  weighted("{name: %s, port: 80%s}"), path: "spec.routes.*.services", implied: "even",
		}.shape("HTTPProxy", services),
		virtualServer("VirtualServer", "routes"), virtualServer("VirtualServerRoute", "subroutes"), openshiftRoute(), routeGroup(),
		plain(),
	}
}

// subsets is a VirtualService to one Service with both tracks, which a DestinationRule
// divides.
func subsets() shape {
	return lists{
		head:  "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: shop}\n",
		whole: each("spec: {hosts: [shop.example], http: [", "{route: %l}", "]}"),
		each:  weighted("{destination: {host: shop.example.svc.cluster.local, subset: %s}%s}"),
		path:  "spec.http.*.route", implied: "0",
	}.shape("VirtualService subsets", `
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: shop}
spec:
  host: shop
  subsets: [{name: shop, labels: {track: stable}}, {name: shop-canary, labels: {track: canary}}, {name: beta, labels: {track: beta}}]
---
apiVersion: v1
kind: Service
metadata: {name: shop}
spec: {selector: {app: shop}, ports: [{name: http, port: 80}]}`)
}

// ingress is a canary Ingress with the annotations of ingress-nginx.
func ingress() shape {
	const prefix = "nginx.ingress.kubernetes.io/"
	object := func(annotations ...string) string {
		text := prefix + `canary: "true"`
		for i := 0; i < len(annotations); i += 2 {
			text += fmt.Sprintf(", %s%s: %q", prefix, annotations[i], annotations[i+1])
		}
		one := func(name, annotations string) string {
			return fmt.Sprintf(`apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: %s, annotations: {%s}}
spec: {rules: [{host: shop.example, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: %s, port: {number: 80}}}}]}}]}`, name, annotations, name)
		}
		return one("shop-canary", text) + "\n---\n" + one("shop", "")
	}
	return shape{
		name: "Ingress", with: services, takeovers: []string{"shop"},
		forms: map[string]form{
			percent:  {text: object("canary-weight", "20"), shed: "0"},
			other:    {text: object("canary-weight", "500", "canary-weight-total", "1000"), shed: "0 of 1000"},
			absent:   {text: object(), shed: "-", unchanged: true},
			nothing:  {text: object("canary-weight", "0"), shed: "0", unchanged: true},
			all:      {text: object("canary-weight", "100"), shed: "0"},
			byHeader: {text: object("canary-weight", "0", "canary-by-header", "x-canary", "canary-by-header-value", "yes", "canary-by-cookie", "beta"), shed: "0"},
		},
		render: func(o *unstructured.Unstructured) string {
			annotations := o.GetAnnotations()
			text, ok := annotations[prefix+"canary-weight"]
			if !ok {
				text = "-"
			}
			if total, ok := annotations[prefix+"canary-weight-total"]; ok {
				text += " of " + total
			}
			for _, rule := range []string{"canary-by-header", "canary-by-header-value", "canary-by-header-pattern", "canary-by-cookie"} {
				if value, ok := annotations[prefix+rule]; ok {
					text += " " + rule + "=" + value
				}
			}
			return text
		},
	}
}

// plain is a Service with both tracks, without a route.
func plain() shape {
	one := func(name, track, replicas string) string {
		return fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: %s}
spec: {%s selector: {matchLabels: {app: shop, track: %s}}, template: {metadata: {labels: {app: shop, track: %s}}, spec: {containers: [{name: shop, image: "%s:v1", env: [{name: %s, value: sleep}]}]}}}`,
			name, replicas, track, track, podImage, role)
	}
	object := func(replicas string) string {
		return one("shop-canary", "canary", replicas) + "\n---\n" + one("shop", "stable", "replicas: 4,")
	}
	return shape{
		name: "plain Service",
		with: "apiVersion: v1\nkind: Service\nmetadata: {name: shop}\nspec: {selector: {app: shop}, ports: [{name: http, port: 80}]}",
		forms: map[string]form{
			percent: {text: object("replicas: 1,"), shed: "0"},
			other:   {text: object("replicas: 3,"), shed: "0"},
			absent:  {text: object(""), shed: "0"},
			nothing: {text: object("replicas: 0,"), shed: "0", unchanged: true},
		},
		render: func(o *unstructured.Unstructured) string {
			n, _, _ := unstructured.NestedInt64(o.Object, "spec", "replicas")
			return fmt.Sprint(n)
		},
	}
}
