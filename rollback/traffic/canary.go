package traffic

import (
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/upcommerce/backout/rollback"
)

// How a canary's pods and Services are known: the pods are of the canary track,
// and the Services select only them. Where nothing has a track, names tell.
const (
	trackLabel   = "track"
	trackCanary  = "canary"
	canarySuffix = "-canary"
)

// canaryAnnotation is a person's word, on a routing object, for which of its
// backends are the canary, separated by commas. It wins over what backout finds.
const canaryAnnotation = "backout.dev/canary"

// names is a set of names.
type names map[string]bool

func (n names) add(all []string) {
	for _, name := range all {
		n[name] = true
	}
}

// canary is the canary's side of a release, as its manifest tells.
type canary struct {
	// services are the canary's Services, and its subsets of Services that both
	// tracks share, as "service/subset". guessed says that only names make them so.
	services names
	guessed  bool
	// subsets are the labels of the pods in each subset, of either track.
	subsets map[string]labels.Set
	// deployments are the canary's Deployments behind a Service of both tracks,
	// with no other way to them: only their replicas can take traffic from them.
	// beside are the other Deployments behind it, scaled are those that an
	// autoscaler of the manifest scales.
	deployments, beside, scaled names
	// own are all Services of the manifest.
	own names
	// tracked says that the manifest has pods of the canary's.
	tracked bool
	// workloads are what the manifest has of them.
	workloads []workload
	// chosen are the backends that a person named on one routing object; nil if
	// nobody did. foreign says that the object is no part of the release: then only
	// the release's own Services count.
	chosen  names
	foreign bool
}

// canaryOf finds the canary's side in a manifest.
func canaryOf(m rollback.Manifest) canary {
	workloads, services := workloadsOf(m), servicesOf(m)
	c := canary{
		services: names{}, subsets: make(map[string]labels.Set), own: names{}, workloads: workloads,
		deployments: names{}, beside: names{}, scaled: scaledBy(m),
	}
	c.tracked = slices.ContainsFunc(workloads, func(w workload) bool { return w.canary })
	for _, s := range services {
		c.own[s.name] = true
		if onlyCanary(s, workloads) {
			c.services[s.name] = true
		}
	}
	c.addSubsets(m, services, workloads)
	if len(c.services) == 0 {
		for _, s := range services {
			if strings.HasSuffix(s.name, canarySuffix) {
				c.services[s.name], c.guessed = true, true
			}
		}
	}
	if len(c.services) == 0 && len(namedRoutes(m)) == 0 && !c.routed(m) {
		for _, s := range services {
			c.share(s, workloads)
		}
	}
	return c
}

// routed reports whether a routing object of the manifest leads to the canary, or
// may.
func (c canary) routed(m rollback.Manifest) bool {
	known := kinds()
	for _, object := range m {
		o := &unstructured.Unstructured{Object: object}
		if kind, ok := known[o.GroupVersionKind().GroupKind()]; ok {
			if leads, err := kind.router.leads(o, c.on(o)); leads || err != nil {
				return true
			}
		}
	}
	return false
}

// on returns the canary's side of one routing object: what a person wrote there
// wins.
func (c canary) on(object *unstructured.Unstructured) canary {
	chosen := names{}
	for name := range strings.SplitSeq(object.GetAnnotations()[canaryAnnotation], ",") {
		if name = strings.TrimSpace(name); name != "" {
			chosen[name] = true
		}
	}
	if len(chosen) > 0 {
		c.chosen = chosen
	}
	return c
}

// has reports whether a backend is the canary's: name is what it is called, which
// for a subset is "service/subset".
func (c canary) has(name, service string) bool {
	if c.chosen != nil {
		return (c.chosen[name] || c.chosen[service]) && (c.own[service] || !c.foreign)
	}
	if c.services[service] || c.services[name] && service != "" {
		return true
	}
	// What the subset is stands elsewhere: its name has to do.
	_, described := c.subsets[name]
	return service != "" && !described && name == service+"/"+trackCanary
}

// onlyCanary reports whether all pods that the Service selects are the canary's. A
// release that is nothing but a canary cannot tell whom else a Service selects,
// unless the Service names the track.
func onlyCanary(s service, workloads []workload) bool {
	if s.selector[trackLabel] == trackCanary {
		return true
	}
	var canary, others bool
	for _, w := range workloads {
		others = others || !w.canary
		if s.selects(w) && !w.canary {
			return false
		}
		canary = canary || s.selects(w)
	}
	return canary && others
}

// share notes the Deployments of the canary's behind a Service, if there are others
// behind it too.
func (c canary) share(s service, workloads []workload) {
	var mine, others []string
	for _, w := range workloads {
		switch {
		case w.kind != deploymentKind || !s.selects(w):
		case w.canary:
			mine = append(mine, w.name)
		default:
			others = append(others, w.name)
		}
	}
	if len(mine) == 0 || len(others) == 0 {
		return
	}
	for _, name := range mine {
		c.deployments[name] = true
	}
	for _, name := range others {
		c.beside[name] = true
	}
}
