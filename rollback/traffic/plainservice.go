package traffic

import (
	"fmt"
	"strconv"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/upcommerce/backout/rollback"
)

const deploymentKind = "Deployment"

// plainService is no router at all: a Service sends traffic to the pods of both
// tracks, and the canary's share is its share of the pods. The weight is the
// number of replicas of the canary's Deployment.
//
// Nothing is written to a HorizontalPodAutoscaler: by its own rule it leaves a
// Deployment with zero replicas alone, and goes on when it has some again.
// https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#implicit-maintenance-mode-deactivation
type plainService struct{}

func (plainService) leads(object *unstructured.Unstructured, c canary) (bool, error) {
	return c.deployments[object.GetName()], nil
}

// replicas returns the number of replicas that an object asks for; the API's
// default is 1.
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
		}
		return edit{weights: []rollback.Weight{weight}}, nil
	}
	return edit{
		weights:    []rollback.Weight{weight},
		operations: append(annotate(live, heldAnnotation, found), operation{Op: "add", Path: "/spec/replicas", Value: 0}),
	}, nil
}

// raise brings back what the shed found, or the declared number if that is larger
// and the manifest has no autoscaler. A Deployment that has replicas keeps them: who
// scales it need not stand in the manifest.
func (p plainService) raise(live, declared *unstructured.Unstructured, c canary) (edit, error) {
	from, _ := p.replicas(live)
	to := from
	if from == 0 {
		if held, err := strconv.ParseInt(live.GetAnnotations()[heldAnnotation], 10, 64); err == nil {
			to = held
		}
		if declared != nil && !c.scaled[live.GetName()] {
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

// hold does nothing: replicas and pod template stand in one object, so that what
// Helm writes brings up pods of the target and none of the accused revision's. The
// Service sends them nothing before they are ready.
func (plainService) hold(*unstructured.Unstructured, canary) {}

// look takes ready pods for shares: a Service sends each of them the same.
func (p plainService) look(live *unstructured.Unstructured, c canary, neighbours []unstructured.Unstructured) ([]rollback.Weight, []burden) {
	n, _ := p.replicas(live)
	text := strconv.FormatInt(n, 10)
	weights := []rollback.Weight{{Kind: live.GetKind(), Name: live.GetName(), From: text, To: text}}
	if n == 0 {
		return weights, nil
	}
	b := burden{alone: fmt.Sprintf("no other Deployment behind the Service of %s has a ready pod", live.GetName())}
	for i := range neighbours {
		ready := p.ready(&neighbours[i])
		switch name := neighbours[i].GetName(); {
		case name == live.GetName():
			b.canary += ready
			b.total += ready
		case c.beside[name]:
			b.total += ready
		}
	}
	return weights, []burden{b}
}

// ready returns the number of ready pods.
func (plainService) ready(o *unstructured.Unstructured) float64 {
	value, _, _ := unstructured.NestedFieldNoCopy(o.Object, "status", "readyReplicas")
	n, _ := number(value)
	return float64(n)
}

// portions counts other canaries behind the Service, too, which could take nothing
// over.
func (p plainService) portions(live *unstructured.Unstructured, c canary, neighbours []unstructured.Unstructured) []portion {
	var mine, total float64
	if n, _ := p.replicas(live); n > 0 {
		mine = p.ready(live)
	}
	for i := range neighbours {
		if name := neighbours[i].GetName(); c.deployments[name] || c.beside[name] {
			total += p.ready(&neighbours[i])
		}
	}
	return []portion{portionOf(live.GetName(), mine, total)}
}
