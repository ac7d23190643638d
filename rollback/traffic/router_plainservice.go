package traffic

import (
	"fmt"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/upcommerce/backout/rollback"
)

// plainService is for a canary without a router: a Service sends traffic to the pods of both
// tracks, and the canary's share is its share of the pods. The weight is the number of
// replicas of the canary's Deployment.
//
// backout writes nothing to a HorizontalPodAutoscaler (router_keda.go is about KEDA), which leaves a Deployment with zero
// replicas alone, and scales it again once it has some.
// https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#implicit-maintenance-mode-deactivation
type plainService struct{}

func (plainService) leads(object *unstructured.Unstructured, c canary) (bool, error) {
	return c.deployments.Has(object.GetName()), nil
}

// replicas returns the number of replicas of an object's spec, and whether it declares one;
// the API's default is 1.
func (plainService) replicas(object *unstructured.Unstructured) (n int64, declared bool) {
	value, _, _ := unstructured.NestedFieldNoCopy(object.Object, "spec", "replicas")
	if n, ok := number(value); ok {
		return n, true
	}
	return 1, false
}

func (p plainService) shed(live *unstructured.Unstructured, _ canary) (edit, error) {
	n, _ := p.replicas(live)
	found := strconv.FormatInt(n, 10)
	weight := rollback.Weight{Kind: live.GetKind(), Name: live.GetName(), From: found, To: zero}
	if n == 0 {
		if held, ok := live.GetAnnotations()[heldAnnotation]; ok {
			weight.From = held
			return edit{weights: []rollback.Weight{weight}}, nil
		}
		return edit{weights: []rollback.Weight{weight}, operations: annotate(live, heldAnnotation, zero), marks: true}, nil
	}
	return edit{
		weights:    []rollback.Weight{weight},
		operations: append(annotate(live, heldAnnotation, found), operation{Op: "add", Path: "/spec/replicas", Value: 0}),
	}, nil
}

// restore sets the number of replicas that the shed found, or the declared number if that
// is larger and no autoscaler of the manifest scales the Deployment. A Deployment that has
// replicas keeps them: its autoscaler need not be in the manifest.
func (p plainService) restore(live, declared *unstructured.Unstructured, c canary) (edit, error) {
	from, _ := p.replicas(live)
	to := from
	if from == 0 {
		if held, err := strconv.ParseInt(live.GetAnnotations()[heldAnnotation], 10, 64); err == nil {
			to = held
		}
		if declared != nil && !c.autoscaled.Has(live.GetName()) {
			if n, ok := p.replicas(declared); ok {
				to = max(to, n)
			}
		}
	}
	e := edit{
		weights: []rollback.Weight{{
			Kind: live.GetKind(), Name: live.GetName(), From: strconv.FormatInt(from, 10), To: strconv.FormatInt(to, 10),
		}},
		operations: unannotate(live, heldAnnotation),
	}
	if from != to {
		e.operations = append(e.operations, operation{Op: "add", Path: "/spec/replicas", Value: to})
	}
	return e, nil
}

func (plainService) unmark(live *unstructured.Unstructured, _ canary) ([]operation, error) {
	return unannotate(live, heldAnnotation), nil
}

// hold does nothing: one object contains the replicas and the pod template, so that Helm's
// write brings up pods of the target and none of the suspect revision. The Service sends
// them no traffic before they are ready.
func (plainService) hold(_, _ *unstructured.Unstructured, _ canary) {}

// observe counts ready pods: a Service sends each of them the same traffic.
func (p plainService) observe(live *unstructured.Unstructured, c canary, neighbours []unstructured.Unstructured) ([]rollback.Weight, []load) {
	n, _ := p.replicas(live)
	text := strconv.FormatInt(n, 10)
	weights := []rollback.Weight{{Kind: live.GetKind(), Name: live.GetName(), From: text, To: text}}
	if n == 0 {
		return weights, nil
	}
	l := load{noStable: fmt.Sprintf("no other Deployment behind the Service of %s has a ready pod", live.GetName())}
	for i := range neighbours {
		ready := p.ready(&neighbours[i])
		switch name := neighbours[i].GetName(); {
		case name == live.GetName():
			l.canary += ready
			l.total += ready
		case c.others.Has(name):
			l.total += ready
		}
	}
	return weights, []load{l}
}

// ready returns the number of ready pods.
func (plainService) ready(o *unstructured.Unstructured) float64 {
	value, _, _ := unstructured.NestedFieldNoCopy(o.Object, "status", "readyReplicas")
	n, _ := number(value)
	return float64(n)
}

// shares also counts the pods of other canaries behind the Service, although those could
// take nothing over.
func (p plainService) shares(live *unstructured.Unstructured, c canary, neighbours []unstructured.Unstructured) []share {
	var own, total float64
	if n, _ := p.replicas(live); n > 0 {
		own = p.ready(live)
	}
	for i := range neighbours {
		if name := neighbours[i].GetName(); c.deployments.Has(name) || c.others.Has(name) {
			total += p.ready(&neighbours[i])
		}
	}
	return []share{shareOf(live.GetName(), own, total)}
}
