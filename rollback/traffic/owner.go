package traffic

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/upcommerce/backout/rollback"
)

// Marks by which other tools know their objects.
const (
	rolloutsAnnotation = "argo-rollouts.argoproj.io/managed-by-rollouts"
	argoCDAnnotation   = "argocd.argoproj.io/tracking-id"
	fluxHelm           = "helm.toolkit.fluxcd.io/"
	fluxKustomize      = "kustomize.toolkit.fluxcd.io/"
)

// declaredOwner returns the tool that sets the canary's weight itself because the
// release tells it to; the zero Owner if there is none.
func declaredOwner(k rollback.Key, m rollback.Manifest) rollback.Owner {
	for _, object := range m {
		o := &unstructured.Unstructured{Object: object}
		if owner := shifter(o.GetAPIVersion(), o.GetKind(), k.Namespace, o.GetName()); owner.Tool != "" {
			return owner
		}
	}
	return rollback.Owner{}
}

// ownerOf returns the tool that a live object belongs to; the zero Owner if there
// is none. A tool that sets weights comes before one that only applies manifests.
func ownerOf(live *unstructured.Unstructured) rollback.Owner {
	namespace := live.GetNamespace()
	for _, ref := range live.GetOwnerReferences() {
		if owner := shifter(ref.APIVersion, ref.Kind, namespace, ref.Name); owner.Tool != "" {
			return owner
		}
	}
	annotations, set := live.GetAnnotations(), live.GetLabels()
	if name := annotations[rolloutsAnnotation]; name != "" {
		return shifter("argoproj.io/v1alpha1", "Rollout", namespace, name)
	}
	if owner, ok := rollback.ArgoCD(annotations[argoCDAnnotation], live.GetKind(), live.GetName()); ok {
		return owner
	}
	for _, flux := range []struct{ prefix, kind, resource string }{
		{fluxHelm, "HelmRelease", "helmrelease"}, {fluxKustomize, "Kustomization", "kustomization"},
	} {
		if name, ns := set[flux.prefix+"name"], set[flux.prefix+"namespace"]; name != "" && ns != "" {
			return rollback.Owner{
				Tool: "Flux", Object: fmt.Sprintf("%s %s/%s", flux.kind, ns, name),
				Do: fmt.Sprintf("flux suspend %s %s -n %s", flux.resource, name, ns),
			}
		}
	}
	return rollback.Owner{}
}

// shifter returns the tool that the object tells to shift traffic; the zero Owner
// if it is no such object.
func shifter(apiVersion, kind, namespace, name string) rollback.Owner {
	group, _, _ := strings.Cut(apiVersion, "/")
	switch {
	case group == "flagger.app" && kind == "Canary":
		// Flagger has no command to abort: it starts anew when the workload that it
		// watches goes back to its old template.
		return rollback.Owner{
			Tool: "Flagger", Object: fmt.Sprintf("Canary %s/%s", namespace, name), Weights: true,
			Do: fmt.Sprintf("kubectl -n %s get canary %s -o jsonpath='{.spec.targetRef.kind}/{.spec.targetRef.name}' | xargs kubectl -n %s rollout undo", namespace, name, namespace),
		}
	case group == "argoproj.io" && kind == "Rollout":
		return rollback.Owner{
			Tool: "Argo Rollouts", Object: fmt.Sprintf("Rollout %s/%s", namespace, name), Weights: true,
			Do: fmt.Sprintf("kubectl argo rollouts abort %s -n %s", name, namespace),
		}
	}
	return rollback.Owner{}
}

// stronger returns the owner that matters more: one that sets weights, else the
// first.
func stronger(a, b rollback.Owner) rollback.Owner {
	if a.Tool == "" || b.Weights && !a.Weights {
		return b
	}
	return a
}
