package helm

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/upcommerce/backout/rollback"
)

func TestOwner(t *testing.T) {
	const deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web%s}\nspec: {template: {spec: {containers: [{name: c, image: a}]}}}\n"
	with := func(metadata string) string { return fmt.Sprintf(deployment, metadata) }
	flagger := func(target, webhooks string) string {
		return "---\napiVersion: flagger.app/v1beta1\nkind: Canary\nmetadata: {name: shop}\nspec: {targetRef: {apiVersion: apps/v1, kind: Deployment, name: " + target + "}" + webhooks + "}\n"
	}
	const back = "helm rollback web 2 -n shop"
	for what, c := range map[string]struct {
		manifest string
		want     rollback.Owner
	}{
		"nobody": {with(""), rollback.Owner{}},
		"Flux": {
			with(", labels: {helm.toolkit.fluxcd.io/name: shop, helm.toolkit.fluxcd.io/namespace: flux-system}"),
			rollback.Owner{Tool: "Flux", Object: "HelmRelease flux-system/shop", Do: "flux suspend helmrelease shop -n flux-system && " + back},
		},
		"Flux, by a Kustomization": {
			with(", labels: {kustomize.toolkit.fluxcd.io/name: apps, kustomize.toolkit.fluxcd.io/namespace: flux-system}"),
			rollback.Owner{Tool: "Flux", Object: "Kustomization flux-system/apps", Do: "flux suspend kustomization apps -n flux-system && " + back},
		},
		"Argo CD": {
			with(", annotations: {argocd.argoproj.io/tracking-id: 'shop:apps/Deployment:shop/web'}"),
			rollback.Owner{Tool: "Argo CD", Object: "Application shop", Do: "argocd app rollback shop"},
		},
		"an annotation that was inherited from another object": {
			with(", annotations: {argocd.argoproj.io/tracking-id: 'shop:apps/Deployment:shop/other'}"), rollback.Owner{},
		},
		"Flagger": {
			with("") + flagger("web", ""), rollback.Owner{Tool: "Flagger", Object: "Canary shop/shop", Weights: true, Do: back},
		},
		"Flagger, with a gate": {
			with("") + flagger("web", ", analysis: {webhooks: [{type: rollout, url: 'http://t/load/check'}, {type: rollback, url: 'http://t/rollback/check'}]}"),
			rollback.Owner{Tool: "Flagger", Object: "Canary shop/shop", Weights: true, Do: `curl -d '{"name": "shop", "namespace": "shop"}' http://t/rollback/open`},
		},
		"Flagger of another workload": {with("") + flagger("other", ""), rollback.Owner{}},
		"Flagger made the object": {
			with(", ownerReferences: [{apiVersion: flagger.app/v1beta1, kind: Canary, name: shop, uid: u}]"),
			rollback.Owner{Tool: "Flagger", Object: "Canary shop/shop", Weights: true, Do: back},
		},
		"Argo Rollouts": {
			"apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: web}\nspec: {template: {spec: {containers: [{name: c, image: a}]}}}\n",
			rollback.Owner{Tool: "Argo Rollouts", Object: "Rollout shop/web", Weights: true, Do: "kubectl argo rollouts abort web -n shop"},
		},
		"Argo Rollouts, by reference": {
			with("") + "---\napiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: shop}\nspec: {workloadRef: {apiVersion: apps/v1, kind: Deployment, name: web}}\n",
			rollback.Owner{Tool: "Argo Rollouts", Object: "Rollout shop/shop", Weights: true, Do: "kubectl argo rollouts abort shop -n shop"},
		},
		"a Rollout of somebody else": {
			with("") + "---\napiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: shop}\nspec: {workloadRef: {apiVersion: apps/v1, kind: Deployment, name: other}}\n",
			rollback.Owner{},
		},
		"who sets weights comes first": {
			with(", labels: {helm.toolkit.fluxcd.io/name: shop, helm.toolkit.fluxcd.io/namespace: flux-system}") + flagger("web", ""),
			rollback.Owner{Tool: "Flagger", Object: "Canary shop/shop", Weights: true, Do: back},
		},
	} {
		all, err := objects(c.manifest)
		if err != nil {
			t.Fatal(err)
		}
		if got := ownerOf(rollback.Key{Namespace: "shop", Release: "web"}, 2, all); got != c.want {
			t.Errorf("%s:\ngot  %+v\nwant %+v", what, got, c.want)
		}
	}
}

func TestStable(t *testing.T) {
	unlabelled := func(name, image string) string {
		return "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: " + name + "}\nspec: {template: {spec: {containers: [{name: c, image: '" + image + "'}]}}}\n"
	}
	workload := func(name, track, image string) string {
		return "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: " + name + "}\nspec: {replicas: 2, template: {metadata: {labels: {track: " + track + "}}, spec: {containers: [{name: c, image: '" + image + "'}]}}}\n"
	}
	for what, c := range map[string]struct{ was, will, want string }{
		"the canary changes alone":                             {workload("web", "stable", "a") + workload("canary", "canary", "b"), workload("web", "stable", "a") + workload("canary", "canary", "a"), ""},
		"the stable track changes":                             {workload("web", "stable", "b") + workload("canary", "canary", "b"), workload("web", "stable", "a") + workload("canary", "canary", "a"), "replace the pods of Deployment web"},
		"the stable track goes":                                {workload("web", "stable", "a") + workload("canary", "canary", "b"), workload("canary", "canary", "a"), "delete Deployment web"},
		"without labels, names tell: the canary changes alone": {unlabelled("web", "a") + unlabelled("web-canary", "b"), unlabelled("web", "a") + unlabelled("web-canary", "a"), ""},
		"without labels, names tell: the stable track changes": {unlabelled("web", "b") + unlabelled("web-canary", "b"), unlabelled("web", "a") + unlabelled("web-canary", "a"), "replace the pods of Deployment web,"},
		"where labels tell, names do not":                      {workload("web-canary", "stable", "b") + workload("web", "canary", "b"), workload("web-canary", "stable", "a") + workload("web", "canary", "a"), "Deployment web-canary"},
		"there is no canary":                                   {workload("web", "stable", "b"), workload("web", "stable", "a"), ""},
		"only replicas change":                                 {workload("web", "stable", "a") + workload("canary", "canary", "b"), strings.Replace(workload("web", "stable", "a"), "replicas: 2", "replicas: 3", 1) + workload("canary", "canary", "a"), ""},
	} {
		was, _ := objects(c.was)
		will, _ := objects(c.will)
		got := stableDangers(rollback.Key{Namespace: "shop", Release: "web"}, was, will)
		if (len(got) == 1) != (c.want != "") || len(got) == 1 && !strings.Contains(got[0].What, c.want) {
			t.Errorf("%s: want %q, got %q", what, c.want, got)
		}
	}
}

func TestBounded(t *testing.T) {
	var many []rollback.Danger
	for i := range 30 {
		many = append(many, rollback.Danger{Kind: rollback.DangerSecret, What: fmt.Sprintf("Secret %02d", i)}, rollback.Danger{Kind: rollback.DangerPVC, What: "the same"})
	}
	got := bounded(many)
	if len(got) != 1+maxDangers || got[0].Kind != rollback.DangerPVC || !strings.Contains(got[maxDangers].What, "21 more") {
		t.Errorf("what is the same is said once, and of each kind some: got %q", got)
	}
	long := words(errors.New(strings.Repeat("ä", maxWords) + "\nnext"))
	if len(long) > maxWords+len(" ...") || !strings.HasSuffix(long, " ...") || strings.Contains(long, "\n") {
		t.Errorf("a quotation is short, and one line: got %q", long)
	}
}

func TestDeletions(t *testing.T) {
	for what, c := range map[string]struct {
		manifest string
		want     rollback.DangerKind
	}{
		"a definition":                      {"kind: CustomResourceDefinition", rollback.DangerNamespace},
		"claims that go with a StatefulSet": {"kind: StatefulSet\nspec: {persistentVolumeClaimRetentionPolicy: {whenDeleted: Delete}}", rollback.DangerPVC},
		"claims that stay":                  {"kind: StatefulSet\nspec: {persistentVolumeClaimRetentionPolicy: {whenDeleted: Retain}}", ""},
		"anything else":                     {"kind: Service", ""},
	} {
		all, err := objects("apiVersion: v1\nmetadata: {name: x}\n" + c.manifest)
		if err != nil {
			t.Fatal(err)
		}
		got := deletionDangers("x", &unstructured.Unstructured{Object: all[0]})
		if (len(got) == 1) != (c.want != "") || len(got) == 1 && got[0].Kind != c.want {
			t.Errorf("%s: want %q, got %q", what, c.want, got)
		}
	}
}
