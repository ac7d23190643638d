package rollback

import (
	"cmp"
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

// Track is the label by which the pods of a canary are recognized. The zero Track is
// TrackLabel with the value TrackCanary.
type Track struct {
	Label string
	// Canary are the values that say so; any other one, such as baseline, is the stable
	// track's.
	Canary []string
}

// Of reports whether labels are those of a canary's pod, or a selector of such pods.
func (t Track) Of(labels map[string]string) bool {
	value, ok := labels[cmp.Or(t.Label, TrackLabel)]
	return ok && (slices.Contains(t.Canary, value) || len(t.Canary) == 0 && value == TrackCanary)
}

// Workloads returns every object that makes pods, of whatever kind, in the manifest's
// order: objects with a pod template (Deployments, StatefulSets, DaemonSets, Rollouts,
// Jobs ...), CronJobs, whose template is in their job template, and Pods.
//
// The canary's are those that the first of these rules finds among the workloads that
// serve: an operator's annotation; the track label; a subset named canary; a canary
// Ingress; a conventional label (of Argo Rollouts or Istio) or a name that ends in
// CanarySuffix, these two only where a route or a pair of Services confirms it: a probe may
// have such a name too.
func (t Track) Workloads(m Manifest) []Workload {
	var found []Workload
	for _, o := range m {
		if w, ok := WorkloadOf(o); ok {
			found = append(found, w)
		}
	}
	newCanaries(m, found).mark(t)
	return found
}

// Serving returns the workloads that may be behind a Service: those with a pod template
// of their own that do not end by themselves, so no Jobs, CronJobs or Pods.
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
	rules := []func(Workload) string{c.chosenByPods, c.chosenByBackend, t.labelled, c.inSubset, c.behindIngress, c.confirmed}
	if c.tooLarge {
		rules = []func(Workload) string{c.chosenByPods, t.labelled}
	}
	for _, rule := range rules {
		serves := false
		for i, w := range c.all {
			why := rule(w)
			c.all[i].Why = why
			serves = serves || why != "" && (w.Serves || w.Kind == "Pod")
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
		c.all[i].Why = ""
	}
}

// chosenByPods returns why an operator's CanaryPodsAnnotation chooses the workload.
func (c canaries) chosenByPods(w Workload) string {
	for _, by := range c.choices {
		if selects(by.pods, w.PodLabels) {
			return "annotation " + CanaryPodsAnnotation + " of " + by.object
		}
	}
	return ""
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

func (t Track) labelled(w Workload) string {
	if !t.Of(w.PodLabels) {
		return ""
	}
	label := cmp.Or(t.Label, TrackLabel)
	return "its pods have the label " + label + "=" + w.PodLabels[label]
}

// inSubset returns which DestinationRule calls the workload's pods canary.
func (c canaries) inSubset(w Workload) string {
	for _, s := range c.subsets {
		if by := c.subsetOf(s.service, TrackCanary, w); by != "" && w.Serves {
			return by + " has the subset " + TrackCanary + " for its pods"
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
