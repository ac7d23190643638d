package rollback_test

import (
	"fmt"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/rollback"
)

// decode returns the objects of a manifest.
func decode(t *testing.T, manifest string) rollback.Manifest {
	t.Helper()
	var m rollback.Manifest
	for document := range strings.SplitSeq(manifest, "---\n") {
		var o rollback.Object
		if err := yaml.Unmarshal([]byte(document), &o); err != nil {
			t.Fatal(err)
		}
		if len(o) > 0 {
			m = append(m, o)
		}
	}
	return m
}

func TestReleaseOwner(t *testing.T) {
	const deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web%s}\nspec: {template: {spec: {containers: [{name: c, image: a}]}}}\n"
	with := func(metadata string) string { return fmt.Sprintf(deployment, metadata) }
	flagger := func(target, webhooks string) string {
		return "---\napiVersion: flagger.app/v1beta1\nkind: Canary\nmetadata: {name: shop}\nspec: {targetRef: {apiVersion: apps/v1, kind: Deployment, name: " + target + "}" + webhooks + "}\n"
	}
	rollout := func(spec string) string {
		return "---\napiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: shop}\nspec: {" + spec + "}\n"
	}
	const flux = ", labels: {helm.toolkit.fluxcd.io/name: shop, helm.toolkit.fluxcd.io/namespace: flux-system}"
	const (
		rollBack = "helm rollback web 2 -n shop"
		guarded  = "backout rollback shop/web --to 2"
	)
	for what, c := range map[string]struct {
		manifest string
		want     rollback.Owner
	}{
		"no tool": {with(""), rollback.Owner{}},
		"Flux": {
			with(flux),
			rollback.Owner{Tool: "Flux", Object: "HelmRelease flux-system/shop", Command: rollback.ReadCommand("flux suspend helmrelease shop -n flux-system && " + guarded)},
		},
		"Flux, by a Kustomization": {
			with(", labels: {kustomize.toolkit.fluxcd.io/name: apps, kustomize.toolkit.fluxcd.io/namespace: flux-system}"),
			rollback.Owner{Tool: "Flux", Object: "Kustomization flux-system/apps", Command: rollback.ReadCommand("flux suspend kustomization apps -n flux-system && " + guarded)},
		},
		"Argo CD": {
			with(", annotations: {argocd.argoproj.io/tracking-id: 'shop:apps/Deployment:shop/web'}"),
			rollback.Owner{Tool: "Argo CD", Object: "Application shop", Command: rollback.ReadCommand("argocd app set shop --sync-policy none && argocd app rollback shop")},
		},
		"an annotation that was inherited from another object": {
			with(", annotations: {argocd.argoproj.io/tracking-id: 'shop:apps/Deployment:shop/other'}"), rollback.Owner{},
		},
		"Flagger": {
			with("") + flagger("web", ""), rollback.Owner{Tool: "Flagger", Object: "Canary shop/shop", SetsWeights: true, Command: rollback.ReadCommand(rollBack)},
		},
		"Flagger, with a gate": {
			with("") + flagger("web", ", analysis: {webhooks: [{type: rollout, url: 'http://t/load/check'}, {type: rollback, url: 'http://t/rollback/check'}]}"),
			rollback.Owner{Tool: "Flagger", Object: "Canary shop/shop", SetsWeights: true, Command: rollback.ReadCommand(`curl -d '{"name": "shop", "namespace": "shop"}' http://t/rollback/open`)},
		},
		"Flagger, with a gate that is an option of curl": {
			with("") + flagger("web", ", analysis: {webhooks: [{type: rollback, url: '-Knetrc/check'}]}"),
			rollback.Owner{Tool: "Flagger", Object: "Canary shop/shop", SetsWeights: true, Command: rollback.ReadCommand(rollBack)},
		},
		"Flagger of another workload": {with("") + flagger("other", ""), rollback.Owner{}},
		"Flagger created the object": {
			with(", ownerReferences: [{apiVersion: flagger.app/v1beta1, kind: Canary, name: shop, uid: u}]"),
			rollback.Owner{Tool: "Flagger", Object: "Canary shop/shop", SetsWeights: true, Command: rollback.ReadCommand(rollBack)},
		},
		"Argo Rollouts": {
			"apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: web}\nspec: {template: {spec: {containers: [{name: c, image: a}]}}}\n",
			rollback.Owner{Tool: "Argo Rollouts", Object: "Rollout shop/web", SetsWeights: true, Command: rollback.ReadCommand("kubectl argo rollouts abort web -n shop")},
		},
		"Argo Rollouts, by reference": {
			with("") + rollout("workloadRef: {apiVersion: apps/v1, kind: Deployment, name: web}"),
			rollback.Owner{Tool: "Argo Rollouts", Object: "Rollout shop/shop", SetsWeights: true, Command: rollback.ReadCommand("kubectl argo rollouts abort shop -n shop")},
		},
		"a Rollout of another workload": {
			with("") + rollout("workloadRef: {apiVersion: apps/v1, kind: Deployment, name: other}"), rollback.Owner{},
		},
		"a tool that sets weights comes first": {
			with(flux) + flagger("web", ""),
			rollback.Owner{Tool: "Flagger", Object: "Canary shop/shop", SetsWeights: true, Command: rollback.ReadCommand(rollBack)},
		},
	} {
		if got := rollback.ReleaseOwner(rollback.Key{Namespace: "shop", Release: "web"}, 2, decode(t, c.manifest)); got != c.want {
			t.Errorf("%s:\ngot  %+v\nwant %+v", what, got, c.want)
		}
	}
	got := rollback.ReleaseOwner(rollback.Key{Namespace: "shop", Release: "web"}, 0, decode(t, with(flux)))
	if want := "flux suspend helmrelease shop -n flux-system && backout rollback shop/web --to REVISION"; got.Command.String() != want {
		t.Errorf("without a target the operator fills in the revision: got %s, want %s", got.Command, want)
	}
}

func TestDeclaredOwner(t *testing.T) {
	const undo = `kubectl -n shop get canaries.flagger.app web -o 'jsonpath={.spec.targetRef.kind}/{.spec.targetRef.name}' | xargs '-I{}' kubectl -n shop rollout undo -- '{}'`
	for manifest, want := range map[string]rollback.Owner{
		"apiVersion: flagger.app/v1beta1\nkind: Canary\nmetadata: {name: web}\n": {
			Tool: "Flagger", Object: "Canary shop/web", SetsWeights: true, Command: rollback.ReadCommand(undo),
		},
		"apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: web, namespace: other}\n": {
			Tool: "Argo Rollouts", Object: "Rollout other/web", SetsWeights: true, Command: rollback.ReadCommand("kubectl argo rollouts abort web -n other"),
		},
		"apiVersion: other/v1\nkind: Canary\nmetadata: {name: web}\n":                                                                       {},
		"apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, annotations: {argo-rollouts.argoproj.io/managed-by-rollouts: web}}\n": {},
	} {
		if got := rollback.DeclaredOwner(rollback.Key{Namespace: "shop", Release: "web"}, decode(t, manifest)); got != want {
			t.Errorf("a Canary or a Rollout that the release declares sets weights:\n%sgot  %+v\nwant %+v", manifest, got, want)
		}
	}
}

func TestObjectOwnerReadsArgoCDsTracking(t *testing.T) {
	for id, want := range map[string]rollback.Owner{
		"web:apps/Deployment:shop/web":               {Tool: "Argo CD", Object: "Application web", Command: rollback.ReadCommand("argocd app set web --sync-policy none && argocd app rollback web")},
		"argocd_web:apps/Deployment:shop/web":        {Tool: "Argo CD", Object: "Application argocd_web", Command: rollback.ReadCommand("argocd app set argocd_web --sync-policy none && argocd app rollback argocd_web")},
		"web; rm -rf ~:apps/Deployment:shop/web":     {Tool: "Argo CD", Object: "Application whose name cannot be one", Command: rollback.ReadCommand("argocd app list")},
		"--grpc-web:apps/Deployment:shop/web":        {Tool: "Argo CD", Object: "Application whose name cannot be one", Command: rollback.ReadCommand("argocd app list")},
		"web:apps/Deployment:shop/another":           {},
		"web:networking.k8s.io/Ingress:shop/web":     {},
		":apps/Deployment:shop/web":                  {},
		"":                                           {},
		"web:apps/Deployment:shop/web:and:much:more": {},
	} {
		live := rollback.Object{"kind": "Deployment", "metadata": rollback.Object{
			"name": "web", "annotations": rollback.Object{"argocd.argoproj.io/tracking-id": id},
		}}
		if got := rollback.ObjectOwner(live); got != want {
			t.Errorf("%q: got %+v, want %+v", id, got, want)
		}
	}
}

func TestStrongerOwner(t *testing.T) {
	none, flux, argoCD, flagger, rollouts := rollback.Owner{}, rollback.Owner{Tool: "Flux"}, rollback.Owner{Tool: "Argo CD"},
		rollback.Owner{Tool: "Flagger", SetsWeights: true}, rollback.Owner{Tool: "Argo Rollouts", SetsWeights: true}
	for _, c := range []struct{ a, b, want rollback.Owner }{
		{none, flux, flux},
		{flux, none, flux},
		{flux, argoCD, flux},
		{flux, flagger, flagger},
		{flagger, flux, flagger},
		{flagger, rollouts, flagger},
		{none, none, none},
	} {
		if got := c.a.Stronger(c.b); got != c.want {
			t.Errorf("a tool that sets weights counts, else the first: of %q and %q got %q, want %q", c.a.Tool, c.b.Tool, got.Tool, c.want.Tool)
		}
	}
}
