package traffic

import (
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/upcommerce/backout/rollback"
)

// scaledObjectKind is KEDA's. An object of it is no route, and goes with a Deployment that is one.
const scaledObjectKind = rollback.ScalerKind

// Annotations of a ScaledObject. pausedReplicas is the number of replicas at which KEDA keeps the
// workload, and wins over paused; KEDA has it since release 2.7.
// https://keda.sh/docs/latest/concepts/scaling-deployments/#pausing-autoscaling
const (
	pausedReplicas = "autoscaling.keda.sh/paused-replicas"
	paused         = "autoscaling.keda.sh/paused"
)

// autoscaling is the weight of a ScaledObject that is not paused.
const autoscaling = "autoscaling"

// keda is a ScaledObject of the canary's Deployment. Unlike a HorizontalPodAutoscaler, KEDA
// scales a workload that has zero replicas: to its minReplicaCount, or to 1 if a trigger is active.
// A shed pauses it at zero. A ScaledObject that an operator has paused is left alone.
// https://github.com/kedacore/keda/blob/main/pkg/scaling/executor/scale_scaledobjects.go (RequestScale)
type keda struct{}

// targetOf returns the Deployment that a ScaledObject scales; "" if it scales something else.
func (keda) targetOf(object *unstructured.Unstructured) string {
	kind, _, _ := unstructured.NestedString(object.Object, "spec", "scaleTargetRef", "kind")
	name, _, _ := unstructured.NestedString(object.Object, "spec", "scaleTargetRef", "name")
	if kind != "" && kind != deploymentKind {
		return ""
	}
	return name
}

func (s keda) leads(object *unstructured.Unstructured, c canary) (bool, error) {
	return c.deployments.Has(s.targetOf(object)), nil
}

// state returns the replicas at which the object is paused, or autoscaling; and whether an
// operator has paused it.
func (keda) state(live *unstructured.Unstructured) (weight string, operator bool) {
	annotations := live.GetAnnotations()
	if replicas, ok := annotations[pausedReplicas]; ok {
		return strings.TrimSpace(replicas), !marked(live)
	}
	value, ok := annotations[paused]
	on, err := strconv.ParseBool(value)
	if ok && (on || err != nil) { // KEDA takes another word for true.
		return zero, true
	}
	return autoscaling, false
}

// keeps returns the replicas that an operator wants KEDA to keep; "" without any.
func (s keda) keeps(live *unstructured.Unstructured) string {
	if weight, operator := s.state(live); operator && weight != zero {
		return weight
	}
	return ""
}

func (s keda) observe(live *unstructured.Unstructured, _ canary, _ []unstructured.Unstructured) ([]rollback.Weight, []load) {
	if s.keeps(live) != "" {
		return nil, nil
	}
	weight, _ := s.state(live)
	return []rollback.Weight{{Kind: live.GetKind(), Name: live.GetName(), From: weight, To: weight}}, nil
}

// shares returns none: the Deployment has the share.
func (keda) shares(*unstructured.Unstructured, canary, []unstructured.Unstructured) []share {
	return nil
}

func (s keda) shed(live *unstructured.Unstructured, _ canary) (edit, error) {
	if s.keeps(live) != "" {
		return edit{}, nil
	}
	from, operator := s.state(live)
	weight := rollback.Weight{Kind: live.GetKind(), Name: live.GetName(), From: from, To: zero}
	if from != zero {
		return edit{
			weights:    []rollback.Weight{weight},
			operations: annotateAll(live, map[string]string{pausedReplicas: zero, heldAnnotation: autoscaling}),
		}, nil
	}
	if !operator {
		weight.From = live.GetAnnotations()[heldAnnotation]
	}
	return edit{weights: []rollback.Weight{weight}}, nil
}

// restore resumes an object that a shed has paused.
func (s keda) restore(live, _ *unstructured.Unstructured, _ canary) (edit, error) {
	if !marked(live) {
		return edit{}, nil
	}
	from, _ := s.state(live)
	weight := rollback.Weight{Kind: live.GetKind(), Name: live.GetName(), From: from, To: autoscaling}
	return edit{weights: []rollback.Weight{weight}, operations: unannotate(live, heldAnnotation, pausedReplicas)}, nil
}

// pause pauses an object that is not written yet, as a shed pauses a live one.
func (s keda) pause(object *unstructured.Unstructured) {
	if weight, _ := s.state(object); weight != autoscaling {
		return
	}
	annotations := object.GetAnnotations()
	if annotations == nil {
		annotations = make(map[string]string)
	}
	annotations[pausedReplicas], annotations[heldAnnotation] = zero, autoscaling
	object.SetAnnotations(annotations)
}

// unmark leaves an object paused at the replicas that an operator has written.
func (keda) unmark(live *unstructured.Unstructured, _ canary) ([]operation, error) {
	return unannotate(live, heldAnnotation), nil
}

// hold does nothing: Helm keeps an annotation that no manifest declares.
func (keda) hold(_, _ *unstructured.Unstructured, _ canary) {}
