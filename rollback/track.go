package rollback

import (
	"slices"
	"strings"
)

// How the canary's pods are recognized, unless operators say so: by the label TrackLabel,
// or by a conventional label or a name that a route or a pair of Services confirms.
const (
	TrackLabel   = "track"
	TrackCanary  = "canary"
	CanarySuffix = "-canary"
)

// The annotations with which operators say which pods are the canary's. They win over
// anything that backout finds.
const (
	// CanaryPodsAnnotation is set on any object of the release: labels of the canary's pods,
	// "release=next,tier=web".
	CanaryPodsAnnotation = "backout.dev/canary-pods"
	// CanaryAnnotation is set on a routing object: the backends that are the canary's,
	// separated by commas; a subset is "service/subset".
	CanaryAnnotation = "backout.dev/canary"
	// RouteAnnotation is set on one of the release's Services: a routing object that leads
	// to it and is not part of the release, "HTTPRoute/shop"; several are separated by commas.
	RouteAnnotation = "backout.dev/route"
)

// Workloads returns Manifest.Workloads, and says which are the canary's, and why.
//
// The canary's are those that the first of these rules finds among the workloads that
// serve: an operator's annotation; the track label; Flagger or Argo Rollouts, which shift
// requests to its pods; a subset named canary or like a value of the label; a canary Ingress;
// a conventional label (of Argo Rollouts or Istio) or a name that ends in CanarySuffix, these
// two only where a route or a pair of Services confirms it: a probe may have such a name too.
func (t Track) Workloads(m Manifest) []Workload {
	found := m.Workloads()
	newCanaries(m, found, t).mark(t)
	return found
}

// Serving returns the workloads that may be behind a Service: Workload.Serves.
func (t Track) Serving(m Manifest) []Workload {
	return slices.DeleteFunc(t.Workloads(m), func(w Workload) bool { return !w.Serves })
}

// DescribeCanary says what is taken for the canary and why; "" if nothing is.
func DescribeCanary(workloads []Workload) string {
	var texts []string
	for _, w := range workloads {
		if w.Canary && len(texts) < maxCanariesNamed {
			texts = append(texts, w.Kind+" "+w.Name+": "+w.Why)
		}
	}
	return strings.Join(texts, "; ")
}

// maxCanariesNamed bounds how many workloads DescribeCanary names.
const maxCanariesNamed = 5

// mark sets Canary and Why by the first rule that finds any.
func (c canaries) mark(t Track) {
	rules := []func(Workload) sign{c.chosenByPods, because(c.chosenByBackend), t.labelled, c.shifted, because(c.inSubset), because(c.behindIngress), c.confirmed}
	if c.tooLarge {
		rules = []func(Workload) sign{c.chosenByPods, t.labelled, c.shifted}
	}
	for _, rule := range rules {
		serves := false
		for i, w := range c.all {
			found := rule(w)
			c.all[i].note(found)
			serves = serves || found.why != "" && (w.Serves || w.Kind == "Pod")
		}
		if !serves {
			continue // a Job of the canary says nothing about what serves
		}
		for i := range c.all {
			c.all[i].Canary = c.all[i].Why != ""
		}
		return
	}
	for i := range c.all {
		c.all[i].note(sign{})
	}
}

// sign is why a workload is the canary's; the zero sign if it is not.
type sign struct {
	why string
	// by are the labels of its pods that make it so, if labels do.
	by map[string]string
	// tool shifts the requests to its pods, and services lead to them.
	tool     string
	services []string
}

func (w *Workload) note(s sign) { w.Why, w.By, w.Tool, w.Services = s.why, s.by, s.tool, s.services }

// because returns a rule that no labels are part of.
func because(rule func(Workload) string) func(Workload) sign {
	return func(w Workload) sign { return sign{why: rule(w)} }
}

// chosenByPods returns why an operator's CanaryPodsAnnotation chooses the workload.
func (c canaries) chosenByPods(w Workload) sign {
	for _, by := range c.choices {
		if selects(by.pods, w.PodLabels) {
			return sign{why: "annotation " + CanaryPodsAnnotation + " of " + by.object, by: by.pods}
		}
	}
	return sign{}
}

// parseLabels reads "a=b,c=d"; nil if the text is anything else.
func parseLabels(text string) map[string]string {
	labels := make(map[string]string)
	for part := range strings.SplitSeq(text, ",") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if !ok || name == "" {
			return nil
		}
		labels[name] = value
	}
	return labels
}

// chosenByBackend returns why an operator's CanaryAnnotation chooses the workload.
func (c canaries) chosenByBackend(w Workload) string {
	for _, by := range c.choices {
		for _, name := range by.backends {
			service, subset, _ := strings.Cut(name, "/")
			if w.Serves && (subset == "" && c.onlySelectedBy(service, w) || subset != "" && c.subsetOf(service, subset, w) != "") {
				return "annotation " + CanaryAnnotation + " of " + by.object
			}
		}
	}
	return ""
}

// inSubset returns which DestinationRule calls the workload's pods canary.
func (c canaries) inSubset(w Workload) string {
	for _, s := range c.subsets {
		if by := c.subsetOf(s.service, s.name, w); by != "" && w.Serves && c.track.Named(s.name) {
			return by + " has the subset " + s.name + " for its pods"
		}
	}
	return ""
}

// subsetOf returns the DestinationRule whose subset of that name, of the Service, has the
// workload's pods, and not those of every workload.
func (c canaries) subsetOf(service, name string, w Workload) string {
	if !c.behind(service, w) {
		return ""
	}
	for _, s := range c.subsets {
		part := slices.ContainsFunc(c.all, func(other Workload) bool {
			return other.Serves && c.behind(service, other) && !selects(s.labels, other.PodLabels)
		})
		if s.service == service && s.name == name && part && selects(s.labels, w.PodLabels) {
			return s.object
		}
	}
	return ""
}

// behind reports whether the workload's pods may be behind the Service of a DestinationRule:
// that of another release selects what it is not known to select.
func (c canaries) behind(name string, w Workload) bool {
	i := slices.IndexFunc(c.services, func(s service) bool { return s.name == name })
	return i < 0 || selects(c.services[i].selector, w.PodLabels)
}

// others reports whether another workload that serves is so.
func (c canaries) others(w Workload, so func(Workload) bool) bool {
	return slices.ContainsFunc(c.all, func(other Workload) bool {
		return other.Serves && !(other.Kind == w.Kind && other.Name == w.Name) && so(other)
	})
}
