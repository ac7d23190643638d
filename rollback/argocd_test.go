package rollback_test

import (
	"testing"

	"github.com/upcommerce/backout/rollback"
)

func TestArgoCD(t *testing.T) {
	for id, want := range map[string]rollback.Owner{
		"web:apps/Deployment:shop/web":               {Tool: "Argo CD", Object: "Application web", Do: "argocd app rollback web"},
		"argocd_web:apps/Deployment:shop/web":        {Tool: "Argo CD", Object: "Application argocd_web", Do: "argocd app rollback argocd_web"},
		"web; rm -rf ~:apps/Deployment:shop/web":     {Tool: "Argo CD", Object: "an Application whose name cannot be one", Do: "argocd app list"},
		"web:apps/Deployment:shop/another":           {},
		"web:networking.k8s.io/Ingress:shop/web":     {},
		":apps/Deployment:shop/web":                  {},
		"":                                           {},
		"web:apps/Deployment:shop/web:and:much:more": {},
	} {
		got, ok := rollback.ArgoCD(id, "Deployment", "web")
		if got != want || ok != (want.Tool != "") {
			t.Errorf("%q: got %+v, %t, want %+v", id, got, ok, want)
		}
	}
}
