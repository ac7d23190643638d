package traffic

import (
	"encoding/json"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/upcommerce/backout/rollback"
)

const (
	// affinityAnnotation keeps a client on the pod that its cookie names. A canary Ingress takes
	// it over from the main Ingress, unless its sessionsAnnotation is sessionsIgnored; the cookie
	// comes before the weight.
	// https://github.com/kubernetes/ingress-nginx/blob/main/internal/ingress/controller/controller.go (mergeAlternativeBackend)
	affinityAnnotation = "nginx.ingress.kubernetes.io/affinity"
	sessionsAnnotation = "nginx.ingress.kubernetes.io/affinity-canary-behavior"
	sessionsIgnored    = "legacy"
)

// heldRulesAnnotation is backout's own: the rules that a shed removed, and the
// sessionsAnnotation that it replaced, "" for none.
const heldRulesAnnotation = rollback.HeldRulesAnnotation

// keepsSessions reports whether an Ingress keeps clients on the pod that their cookie names.
func keepsSessions(object *unstructured.Unstructured) bool {
	return object.GetKind() == "Ingress" && object.GetAnnotations()[affinityAnnotation] == "cookie"
}

// noted returns what a shed has noted in heldRulesAnnotation; an empty map for nothing.
func (ingressNGINX) noted(live *unstructured.Unstructured) map[string]string {
	rules := make(map[string]string)
	if json.Unmarshal([]byte(live.GetAnnotations()[heldRulesAnnotation]), &rules) != nil {
		return make(map[string]string)
	}
	return rules
}

// withSessions returns the operations that give a live Ingress on which a shed has replaced the
// sessionsAnnotation that of another object; none for any other one.
func (r ingressNGINX) withSessions(live, declared *unstructured.Unstructured) []operation {
	if _, replaced := r.noted(live)[sessionsAnnotation]; !replaced {
		return nil
	}
	sessions, ok := declared.GetAnnotations()[sessionsAnnotation]
	switch {
	case !ok:
		return unannotate(live, sessionsAnnotation)
	case live.GetAnnotations()[sessionsAnnotation] == sessions:
		return nil
	}
	return annotate(live, sessionsAnnotation, sessions)
}
