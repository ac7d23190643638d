package rollback_test

import (
	"testing"

	"github.com/upcommerce/backout/rollback"
)

func TestWriterOf(t *testing.T) {
	for name, want := range map[string]rollback.WriterKind{
		"kubectl-edit": rollback.WriterOperator, "kubectl-client-side-apply": rollback.WriterOperator, "kubectl": rollback.WriterOperator,
		"k9s": rollback.WriterOperator, "Mozilla": rollback.WriterOperator, "oc": rollback.WriterOperator,
		"argocd-controller": rollback.WriterController, "argocd-application-controller": rollback.WriterController,
		"kustomize-controller": rollback.WriterController, "helm-controller": rollback.WriterController,
		"keda-operator": rollback.WriterController, "keda": rollback.WriterController, "kube-controller-manager": rollback.WriterController,
		"flagger": rollback.WriterController, "rollouts-controller": rollback.WriterController,
		"helm": rollback.WriterHelm, "Helm": rollback.WriterHelm, "terraform-provider-helm_v2.17": rollback.WriterHelm,
		"": rollback.WriterUnknown, "backout": rollback.WriterUnknown, "deploy-script": rollback.WriterUnknown,
	} {
		if got := rollback.WriterOf(name); got != want {
			t.Errorf("the writer %q is %d, want %d", name, got, want)
		}
	}
}
