package traffic

import (
	"strings"

	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/upcommerce/backout/rollback"
)

// ingress-nginx, and Traefik's provider for its annotations: the canary has an
// Ingress of its own, whose annotations say how much of the traffic it gets.
// https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/annotations/#canary
const (
	canaryAnnotation = "nginx.ingress.kubernetes.io/canary"
	// weightAnnotation is a whole number as text, of 100 unless canary-weight-total
	// says otherwise; without it the weight is 0.
	weightAnnotation = "nginx.ingress.kubernetes.io/canary-weight"
	// heldAnnotation is backout's own: the weight that a shed found. It is there
	// while the weight is held at zero.
	heldAnnotation = "backout.dev/held-weight"

	zero = "0"
)

func ingressResource() schema.GroupVersionResource {
	return networkingv1.SchemeGroupVersion.WithResource("ingresses")
}

func isCanaryIngress(o *unstructured.Unstructured) bool {
	return o.GroupVersionKind().GroupKind() == networkingv1.SchemeGroupVersion.WithKind("Ingress").GroupKind() &&
		o.GetAnnotations()[canaryAnnotation] == "true"
}

func declaredWeight(annotations map[string]string) string {
	if w, ok := annotations[weightAnnotation]; ok {
		return strings.TrimSpace(w)
	}
	return zero
}

// shedIngress returns the weight before and after, and what is to be written. The
// weight that was found stands on the object for as long as it is held.
func shedIngress(live *unstructured.Unstructured) (rollback.Weight, []operation) {
	annotations := live.GetAnnotations()
	found := declaredWeight(annotations)
	weight := rollback.Weight{Kind: live.GetKind(), Name: live.GetName(), From: found, To: zero}
	if found == zero {
		if held, ok := annotations[heldAnnotation]; ok {
			weight.From = held
		}
		return weight, nil
	}
	return weight, append(annotate(live, weightAnnotation, zero), annotate(live, heldAnnotation, found)...)
}

// raiseIngress is the way back to the declared weight.
func raiseIngress(live *unstructured.Unstructured, declared string) (rollback.Weight, []operation) {
	annotations := live.GetAnnotations()
	weight := rollback.Weight{Kind: live.GetKind(), Name: live.GetName(), From: declaredWeight(annotations), To: declared}
	var operations []operation
	if weight.From != declared {
		operations = annotate(live, weightAnnotation, declared)
	}
	if _, held := annotations[heldAnnotation]; held {
		operations = append(operations, operation{Op: "remove", Path: annotationPath(heldAnnotation)})
	}
	return weight, operations
}

// annotate sets one annotation; live has annotations, or it were no canary.
func annotate(live *unstructured.Unstructured, name, value string) []operation {
	if live.GetAnnotations() == nil {
		return []operation{{Op: "add", Path: "/metadata/annotations", Value: map[string]string{name: value}}}
	}
	return []operation{{Op: "add", Path: annotationPath(name), Value: value}}
}

// annotationPath is the JSON Pointer (RFC 6901) of an annotation.
func annotationPath(name string) string {
	return "/metadata/annotations/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}
