package traffic

import (
	"strings"
	"testing"

	"github.com/upcommerce/backout/rollback"
)

func TestOwner(t *testing.T) {
	const (
		flagger  = `ownerReferences: [{apiVersion: flagger.app/v1beta1, kind: Canary, name: web, uid: u}]`
		rollouts = `ownerReferences: [{apiVersion: argoproj.io/v1alpha1, kind: Rollout, name: web, uid: u}]`
		argoCD   = `annotations: {argocd.argoproj.io/tracking-id: "shop-prod:gateway.networking.k8s.io/HTTPRoute:shop/shop"}`
		fluxHR   = `labels: {helm.toolkit.fluxcd.io/name: web, helm.toolkit.fluxcd.io/namespace: apps}`
		fluxKS   = `labels: {kustomize.toolkit.fluxcd.io/name: apps, kustomize.toolkit.fluxcd.io/namespace: flux-system}`
	)
	for _, c := range []struct {
		rule, metadata, declared string
		tool, object, do         string
		weights                  bool
	}{
		{"Helm is not another tool", `labels: {app.kubernetes.io/managed-by: Helm}`, "", "", "", "", false},
		{"an owner reference to Flagger's Canary", flagger, "", "Flagger", "Canary shop/web", "kubectl -n shop get canaries.flagger.app web", true},
		{"an owner reference to a Rollout", rollouts, "", "Argo Rollouts", "Rollout shop/web", "kubectl argo rollouts abort web -n shop", true},
		{"the annotation of Argo Rollouts", `annotations: {argo-rollouts.argoproj.io/managed-by-rollouts: web}`, "", "Argo Rollouts", "Rollout shop/web", "kubectl argo rollouts abort web -n shop", true},
		{"Argo CD's tracking", argoCD, "", "Argo CD", "Application shop-prod", "argocd app set shop-prod --sync-policy none && argocd app rollback shop-prod", false},
		{"Argo CD's tracking of another object", strings.ReplaceAll(argoCD, "shop/shop", "shop/parent"), "", "", "", "", false},
		{"Flux, by a HelmRelease", fluxHR, "", "Flux", "HelmRelease apps/web", "flux suspend helmrelease web -n apps", false},
		{"Flux, by a Kustomization", fluxKS, "", "Flux", "Kustomization flux-system/apps", "flux suspend kustomization apps -n flux-system", false},
		{"a tool that sets weights comes before one that applies manifests", flagger + ", " + argoCD, "", "Flagger", "Canary shop/web", "kubectl -n shop", true},
		{"a Rollout in the release", argoCD, `{apiVersion: argoproj.io/v1alpha1, kind: Rollout, metadata: {name: web}}`, "Argo Rollouts", "Rollout shop/web", "kubectl argo rollouts abort", true},
		{"a Canary in the release", "labels: {}", `{apiVersion: flagger.app/v1beta1, kind: Canary, metadata: {name: web}}`, "Flagger", "Canary shop/web", "kubectl -n shop", true},
	} {
		text := strings.Replace(backendRefs(`[{name: shop}, {name: shop-canary}]`), "name: shop}", "name: shop, "+c.metadata+"}", 1)
		m := rollback.Manifest{object(t, canaryService), object(t, backendRefs(`[{name: shop}, {name: shop-canary}]`))}
		if c.declared != "" {
			m = append(m, object(t, c.declared))
		}
		got, err := routerOn(cluster(t, text, endpoints("shop", ready))).Observe(t.Context(), shop(), m, rollback.Stored)
		if err != nil {
			t.Fatalf("%s: %v", c.rule, err)
		}
		o := got.Owner
		if o.Tool != c.tool || o.Object != c.object || !strings.HasPrefix(o.Command.String(), c.do) || o.SetsWeights != c.weights {
			t.Errorf("%s: got %+v, want %s, %s, %s..., weights %v", c.rule, o, c.tool, c.object, c.do, c.weights)
		}
	}
}

func TestOwnerThatSetsWeightsComesFirst(t *testing.T) {
	const (
		flux    = `{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: shop, labels: {helm.toolkit.fluxcd.io/name: web, helm.toolkit.fluxcd.io/namespace: apps}}, spec: {rules: [{backendRefs: [{name: shop}, {name: shop-canary}]}]}}`
		flagger = `{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {name: web, ownerReferences: [{apiVersion: flagger.app/v1beta1, kind: Canary, name: web, uid: u}]}, spec: {rules: [{backendRefs: [{name: shop}, {name: shop-canary}]}]}}`
	)
	for _, live := range [][]string{{flux, flagger}, {flagger, flux}} {
		m := rollback.Manifest{object(t, canaryService), object(t, live[0]), object(t, live[1])}
		got, err := routerOn(cluster(t, append(live, endpoints("shop", ready))...)).Observe(t.Context(), shop(), m, rollback.Stored)
		if err != nil || got.Owner.Tool != "Flagger" {
			t.Errorf("the tool that sets the weight of one route comes before the one that applies another: got %+v, %v", got.Owner, err)
		}
	}
}
