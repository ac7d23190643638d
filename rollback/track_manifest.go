package rollback

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Bounds of what canaries looks at, beyond which only labels count: a manifest is not
// believed without bounds.
const (
	maxWorkloads  = 500
	maxServices   = 500
	maxLookalikes = 20
	maxChoices    = 20
	maxSubsets    = 100
)

// canaries finds the canary's workloads among all of a manifest.
type canaries struct {
	track    Track
	all      []Workload
	services []service
	choices  []choice
	subsets  []subset
	shifts   []shift
	// routes are what divides requests between a Service and others, and ingresses the canary
	// Ingresses that lead to it, by the Service's name.
	routes, ingresses map[string]string
	tooLarge          bool
}

// choice is what an operator's annotations on one object choose.
type choice struct {
	object   string
	pods     map[string]string
	backends []string
}

// subset is a subset of a DestinationRule.
type subset struct {
	object, service, name string
	labels                map[string]string
}

// service is a Service of a manifest.
type service struct {
	name     string
	selector map[string]string
	// ports are the numbers on which it serves, in order.
	ports string
	// headless says that it has no address of its own; routed that it names its route.
	headless, routed bool
}

func newCanaries(m Manifest, all []Workload, t Track) canaries {
	c := canaries{track: t, all: all, routes: make(map[string]string), ingresses: make(map[string]string)}
	for _, o := range m {
		c.choose(o)
		c.addShift(o)
		switch kind := text(o, "kind"); {
		case kind == "Service" && !strings.Contains(text(o, "apiVersion"), "/"):
			c.services = append(c.services, serviceOf(o))
		case kind == "DestinationRule":
			c.addSubsets(o)
		}
		if _, ok := WorkloadOf(o); !ok {
			c.route(o)
		}
	}
	lookalikes := 0
	for _, w := range all {
		if candidate(w) != "" {
			lookalikes++
		}
	}
	c.tooLarge = len(all) > maxWorkloads || len(c.services) > maxServices || lookalikes > maxLookalikes
	return c
}

// choose adds what the object's annotations choose.
func (c *canaries) choose(o Object) {
	annotations := field(o, "metadata", "annotations")
	chosen := choice{object: nameOf(o), pods: parseLabels(text(annotations, CanaryPodsAnnotation))}
	for name := range strings.SplitSeq(text(annotations, CanaryAnnotation), ",") {
		if name = strings.TrimSpace(name); name != "" && len(chosen.backends) < maxChoices {
			chosen.backends = append(chosen.backends, name)
		}
	}
	if len(chosen.pods)+len(chosen.backends) > 0 && len(c.choices) < maxChoices {
		c.choices = append(c.choices, chosen)
	}
}

func serviceOf(o Object) service {
	s := service{
		name: text(o, "metadata", "name"), selector: texts(field(o, "spec", "selector")),
		headless: text(o, "spec", "clusterIP") == "None", routed: text(o, "metadata", "annotations", RouteAnnotation) != "",
	}
	var ports []string
	all, _ := field(o, "spec")["ports"].([]any)
	for _, p := range all {
		port, _ := p.(map[string]any)
		ports = append(ports, fmt.Sprint(port["port"]))
	}
	slices.Sort(ports)
	s.ports = strings.Join(ports, ",")
	return s
}

func (c *canaries) addSubsets(o Object) {
	all, _ := field(o, "spec")["subsets"].([]any)
	for _, entry := range all {
		declared, _ := entry.(map[string]any)
		s := subset{object: nameOf(o), service: hostOf(text(o, "spec", "host")), name: text(declared, "name"), labels: texts(field(declared, "labels"))}
		if len(c.subsets) == maxSubsets {
			return
		}
		c.subsets = append(c.subsets, s)
	}
}

// route adds the Services between which the object divides requests.
func (c *canaries) route(o Object) {
	d := division{canaries: c, why: nameOf(o) + " divides requests between it and others", services: backendServices(field(o, "spec"))}
	d.divide(o["spec"])
	if text(o, "metadata", "annotations", "nginx.ingress.kubernetes.io/canary") == "true" {
		c.lead(o["spec"], nameOf(o))
	}
}

// division finds the lists of backends in one object.
type division struct {
	*canaries
	why string
	// services are the Services behind backends that the object declares by name.
	services map[string]string
}

// backendServices returns the Services of NGINX' upstreams and Skipper's backends, by their names.
func backendServices(spec Object) map[string]string {
	found := make(map[string]string)
	for _, key := range []string{"upstreams", "backends"} {
		all, _ := spec[key].([]any)
		for _, entry := range all {
			declared, _ := entry.(map[string]any)
			for _, service := range []string{"service", "serviceName"} {
				if name := text(declared, service); name != "" {
					found[text(declared, "name")] = name
				}
			}
		}
	}
	return found
}

// divide finds the lists of backends below the node.
func (d division) divide(node any) {
	switch n := node.(type) {
	case map[string]any:
		for key, value := range n {
			list, ok := value.([]any)
			if key == "alternateBackends" {
				list = append([]any{n["to"]}, list...) // OpenShift has the first one apart
			}
			if ok && isBackendList(key) {
				d.divideList(list)
			}
			d.divide(value)
		}
	case []any:
		for _, entry := range n {
			d.divide(entry)
		}
	}
}

// isBackendList reports whether routers call a list of weighted backends so: the Gateway
// API, Istio, Traefik and Contour, NGINX, Skipper and OpenShift, and SMI.
func isBackendList(key string) bool {
	return slices.Contains([]string{"backendRefs", "route", "services", "backends", "splits", "defaultBackends", "alternateBackends"}, key)
}

func (d division) divideList(list []any) {
	var names []string
	for _, entry := range list {
		backend, _ := entry.(map[string]any)
		declares := text(backend, "name") != "" && text(backend, "serviceName") != "" // Skipper's: it gets no requests by that
		if name := backendName(backend); name != "" && !declares {
			names = append(names, cmp.Or(d.services[name], name))
		}
	}
	slices.Sort(names)
	if names = slices.Compact(names); len(names) < 2 {
		return
	}
	for _, name := range names {
		d.routes[name] = d.why
	}
}

// backendName returns the Service that an entry of a list of backends names.
func backendName(entry Object) string {
	for _, path := range [][]string{{"name"}, {"service"}, {"serviceName"}, {"backendName"}, {"action", "pass"}, {"action", "proxy", "upstream"}} {
		if name := text(entry, path...); name != "" {
			return name
		}
	}
	return hostOf(text(entry, "destination", "host"))
}

// lead adds the Services that are backends below the node of a canary Ingress. Hosts, paths,
// certificates and the class of the Ingress are names of other things.
func (c *canaries) lead(node any, ingress string) {
	switch n := node.(type) {
	case map[string]any:
		for _, name := range []string{text(n, "service", "name"), text(n, "serviceName")} {
			if name != "" {
				c.ingresses[name] = ingress
			}
		}
		for _, value := range n {
			c.lead(value, ingress)
		}
	case []any:
		for _, entry := range n {
			c.lead(entry, ingress)
		}
	}
}

// nameOf returns an object's kind and name.
func nameOf(o Object) string { return text(o, "kind") + " " + text(o, "metadata", "name") }

// hostOf returns the Service of a host, shop.team.svc.cluster.local.
func hostOf(host string) string {
	name, _, _ := strings.Cut(host, ".")
	return name
}
