package traffic

import (
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/upcommerce/backout/rollback"
)

// canaryAnnotation is set by operators on a routing object: the backends that are the
// canary. It wins over anything that backout finds.
const canaryAnnotation = rollback.CanaryAnnotation

// canary is the canary's side of a release, according to its manifest: its Services are
// those that select only the canary's pods, or else those whose names end in
// rollback.CanarySuffix.
type canary struct {
	track rollback.Track
	// services are the canary's Services, and its subsets of Services that both tracks
	// share, as "service/subset". guessed says that only their names make them so.
	services sets.Set[string]
	guessed  bool
	// subsets are the labels of the pods in each subset, of either track.
	subsets map[string]labels.Set
	// deployments are the canary's Deployments behind a Service of both tracks, if no other
	// route leads to them: only fewer replicas can take traffic from them. others are the
	// other Deployments behind that Service, and autoscaled are those that an autoscaler of
	// the manifest scales.
	deployments, others, autoscaled sets.Set[string]
	// ownServices are all Services of the manifest, and selectors are theirs.
	ownServices sets.Set[string]
	selectors   map[string]labels.Set
	// tracked says that the manifest has canary pods that no tool shifts the requests to; shifted
	// that a tool does: then only its own Services are the canary's.
	tracked, shifted bool
	// workloads are those of the manifest.
	workloads []workload
	// chosen are the backends that canaryAnnotation names on one routing object; nil if it
	// names none. foreign says that the object is not part of the release: then only the
	// release's own Services count.
	chosen  sets.Set[string]
	foreign bool
	// sessions says that an Ingress keeps clients on the pod that their cookie names.
	sessions bool
	// left are the parts of one routing object that nothing else could serve, by their labels,
	// with the reasons: they keep their weights, where a part has its own.
	left map[string]string
}

// on returns the canary's side of one routing object, with the choice of its
// canaryAnnotation.
func (c canary) on(object *unstructured.Unstructured) canary {
	chosen := sets.New[string]()
	for name := range strings.SplitSeq(object.GetAnnotations()[canaryAnnotation], ",") {
		if name = strings.TrimSpace(name); name != "" {
			chosen.Insert(name)
		}
	}
	if len(chosen) > 0 {
		c.chosen = chosen
	}
	return c
}

// has reports whether a backend is the canary's. The name of a subset is "service/subset".
func (c canary) has(name, service string) bool {
	if c.chosen != nil {
		return c.chosen.HasAny(name, service) && (c.ownServices.Has(service) || !c.foreign)
	}
	if c.services.Has(service) || c.services.Has(name) && service != "" {
		return true
	}
	// A subset that the manifest does not describe is the canary's by its name.
	_, described := c.subsets[name]
	subset, isSubset := strings.CutPrefix(name, service+"/")
	return service != "" && !described && isSubset && c.track.Named(subset)
}

// share adds the canary's Deployments behind a Service, if it selects others too.
func (c canary) share(s service, workloads []workload) {
	own, others := sets.New[string](), sets.New[string]()
	for _, w := range workloads {
		switch {
		case w.kind != deploymentKind || !s.selects(w):
		case w.canary:
			own.Insert(w.name)
		default:
			others.Insert(w.name)
		}
	}
	if len(own) == 0 || len(others) == 0 {
		return
	}
	c.deployments.Insert(own.UnsortedList()...)
	c.others.Insert(others.UnsortedList()...)
}

// onlyCanary reports whether the Service selects none but the canary's pods. A release that
// is nothing but a canary does not show which other pods a Service selects, unless the
// Service selects by the track, or by the labels that make the release's pods the canary's.
func (c canary) onlyCanary(s service) bool {
	if c.track.Of(s.selector) {
		return true
	}
	var canary, others, labelled bool
	for _, w := range c.workloads {
		others = others || !w.canary
		if !s.selects(w) {
			continue
		}
		if !w.canary {
			return false
		}
		canary, labelled = true, labelled || w.declared.SelectedBy(s.selector)
	}
	return canary && (others || labelled)
}
