package rollback

import (
	"slices"
	"strings"
)

// selects reports whether a selector chooses pods with these labels.
func selects(selector, labels map[string]string) bool {
	for name, value := range selector {
		if got, ok := labels[name]; !ok || got != value {
			return false
		}
	}
	return len(selector) > 0
}

// candidate reports whether the workload looks like a canary: by its name, or by a label
// that Argo Rollouts and Istio use in their manuals.
func candidate(w Workload) (why string) { return likeness(w).why }

func likeness(w Workload) sign {
	for _, label := range []string{TrackLabel, "role", "version", "app.kubernetes.io/track"} {
		if w.PodLabels[label] == TrackCanary {
			return hasLabel(label, TrackCanary)
		}
	}
	if strings.HasSuffix(w.Name, CanarySuffix) {
		return sign{why: "its name ends in " + CanarySuffix}
	}
	return sign{}
}

// behindIngress returns which canary Ingress leads to the workload's pods.
func (c canaries) behindIngress(w Workload) string {
	for _, s := range c.services {
		if ingress := c.ingresses[s.name]; ingress != "" && w.Serves && c.onlySelectedBy(s.name, w) {
			return ingress + ", a canary Ingress, leads to its Service " + s.name
		}
	}
	return ""
}

// confirmed returns why a candidate is the canary; the zero sign if nothing confirms it.
func (c canaries) confirmed(w Workload) sign {
	looks := likeness(w)
	if !w.Serves || looks.why == "" {
		return sign{}
	}
	if by := c.confirmedBy(w); by != "" {
		return sign{why: looks.why + ", and " + by, by: looks.by}
	}
	return sign{}
}

func (c canaries) confirmedBy(w Workload) string {
	for _, s := range c.services {
		switch {
		case !selects(s.selector, w.PodLabels):
		case c.onlySelectedBy(s.name, w):
			if by := c.confirmedByRoute(s); by != "" {
				return by
			}
			if by := c.confirmedByPair(s, w); by != "" {
				return by
			}
		case !s.headless && c.others(w, func(o Workload) bool { return selects(s.selector, o.PodLabels) && candidate(o) == "" && twins(w, o) }):
			return "Service " + s.name + " sends requests to it and to the stable track"
		}
	}
	return ""
}

// onlySelectedBy reports whether the Service of that name selects the workload's pods, and
// of the others that serve none but candidates.
func (c canaries) onlySelectedBy(name string, w Workload) bool {
	i := slices.IndexFunc(c.services, func(s service) bool { return s.name == name })
	return i >= 0 && selects(c.services[i].selector, w.PodLabels) &&
		!c.others(w, func(o Workload) bool { return candidate(o) == "" && selects(c.services[i].selector, o.PodLabels) })
}

// confirmedByRoute returns the route that divides requests between the Service and others.
func (c canaries) confirmedByRoute(s service) string {
	switch why := c.routes[s.name]; {
	case s.routed:
		return "Service " + s.name + " names its route"
	case why != "":
		return "Service " + s.name + " is its own: " + why
	default:
		return ""
	}
}

// confirmedByPair returns the Service of the stable track that makes a pair with s: its
// name is the same but for the track, it has the same ports, and it selects the same
// program.
func (c canaries) confirmedByPair(s service, w Workload) string {
	for _, other := range c.services {
		if other.name == s.name || baseName(other.name) != baseName(s.name) || other.ports != s.ports {
			continue
		}
		if c.others(w, func(o Workload) bool {
			return selects(other.selector, o.PodLabels) && candidate(o) == "" && twins(w, o)
		}) {
			return "Services " + other.name + " and " + s.name + " are a pair"
		}
	}
	return ""
}

// baseName returns a Service's name without its track, as Argo Rollouts and Flagger name
// them.
func baseName(name string) string {
	for _, suffix := range []string{CanarySuffix, "-stable", "-primary"} {
		if base, ok := strings.CutSuffix(name, suffix); ok {
			return base
		}
	}
	return name
}

// twins reports whether two workloads are of one kind and run one program. A probe of a
// program is neither, as a rule.
func twins(a, b Workload) bool {
	first, second := program(a), program(b)
	return a.Kind == b.Kind && (first == "" || second == "" || first == second)
}

// program returns the name of the image of the first container, without registry, path and
// tag; "" if it has none.
func program(w Workload) string {
	all, _ := field(w.Template, "spec")["containers"].([]any)
	if len(all) == 0 {
		return ""
	}
	container, _ := all[0].(map[string]any)
	image, _, _ := strings.Cut(text(container, "image"), "@")
	name, _, _ := strings.Cut(image[strings.LastIndex(image, "/")+1:], ":")
	return name
}
