package traffic

import (
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/upcommerce/backout/rollback"
)

// The annotations of ingress-nginx.
// https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/annotations/#canary
const (
	canaryAnnotation = "nginx.ingress.kubernetes.io/canary"
	// weightAnnotation is a whole number as text, of 100 unless canary-weight-total
	// says otherwise; without it the weight is 0.
	weightAnnotation = "nginx.ingress.kubernetes.io/canary-weight"

	zero = "0"
)

// ingressNGINX is ingress-nginx, and whoever reads its annotations: the canary
// has an Ingress of its own, whose annotations say how much of the traffic it
// gets.
type ingressNGINX struct{}

func (ingressNGINX) resource(object *unstructured.Unstructured) schema.GroupVersionResource {
	return object.GroupVersionKind().GroupVersion().WithResource("ingresses")
}

func (ingressNGINX) leads(object *unstructured.Unstructured, _ backends) bool {
	// ingress-nginx reads its boolean annotations in this way: "1" and "True" count.
	on, err := strconv.ParseBool(object.GetAnnotations()[canaryAnnotation])
	return err == nil && on
}

func (ingressNGINX) weight(object *unstructured.Unstructured) string {
	if w := strings.TrimSpace(object.GetAnnotations()[weightAnnotation]); w != "" {
		return w
	}
	return zero
}

// shed leaves alone what is no canary route any more, whatever the manifest
// declares: somebody has changed it, and it may carry everybody's traffic.
func (r ingressNGINX) shed(live *unstructured.Unstructured, canaries backends) ([]rollback.Weight, []operation, error) {
	if !r.leads(live, canaries) {
		return nil, nil, nil
	}
	found := r.weight(live)
	weight := rollback.Weight{Kind: live.GetKind(), Name: live.GetName(), From: found, To: zero}
	if found != zero {
		return []rollback.Weight{weight}, []operation{
			annotate(live, weightAnnotation, zero), annotate(live, heldAnnotation, found),
		}, nil
	}
	if held, ok := live.GetAnnotations()[heldAnnotation]; ok {
		weight.From = held
	}
	return []rollback.Weight{weight}, nil, nil
}

// raise leaves alone what shed does.
func (r ingressNGINX) raise(live, declared *unstructured.Unstructured, canaries backends) ([]rollback.Weight, []operation, error) {
	if !r.leads(live, canaries) {
		return nil, nil, nil
	}
	weight := rollback.Weight{Kind: live.GetKind(), Name: live.GetName(), From: r.weight(live), To: r.weight(declared)}
	var operations []operation
	if weight.From != weight.To {
		operations = append(operations, annotate(live, weightAnnotation, weight.To))
	}
	return []rollback.Weight{weight}, append(operations, release(live)...), nil
}

func (ingressNGINX) hold(object *unstructured.Unstructured, _ backends) {
	annotations := object.GetAnnotations()
	annotations[weightAnnotation] = zero
	object.SetAnnotations(annotations)
}
