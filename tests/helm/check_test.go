package helm

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/upcommerce/backout/rollback"
)

// pod is the rest of a Deployment whose pods go nowhere.
const pod = `, nodeSelector: {nowhere: "true"}}`

const canary = `apiVersion: apps/v1
kind: Deployment
metadata: {name: canary}
spec:
  replicas: 1
  selector: {matchLabels: {app: canary}}
  template: {metadata: {labels: {app: canary, track: canary}}, spec: {containers: [{name: web, image: "web:VERSION"}]` + pod + `}
`

const stable = `apiVersion: apps/v1
kind: Deployment
metadata: {name: stable}
spec:
  replicas: REPLICAS
  selector: {matchLabels: {app: stable}}
  template: {metadata: {labels: {app: stable, track: stable}}, spec: {containers: [{name: web, image: "web:VERSION"}]` + pod + `}
`

const scaler = `apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: stable}
spec: {minReplicas: 1, maxReplicas: MOST, scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: stable}}
`

func with(text string, pairs ...string) string { return strings.NewReplacer(pairs...).Replace(text) }

func manifest(objects ...string) string { return strings.Join(objects, "---\n") }

const secret = `apiVersion: v1
kind: Secret
metadata: {name: key}
stringData: {key: VALUE}
`

// dangers has a release for each danger, at two revisions, and what is found
// before the second one is rolled back.
func (c *cluster) dangers(t *testing.T) {
	const settings = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n"
	const claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data%s}\nspec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}\n"
	v1, v2 := with(canary, "VERSION", "v1"), with(canary, "VERSION", "v2")
	c.define(t, "gone.example", "v1", "Relic")
	for name, r := range map[string]struct {
		will, was string
		// meanwhile happens once the second revision is there.
		meanwhile func(t *testing.T, namespace string)
		// as is whose rights backout has.
		as   string
		want map[rollback.DangerKind]string
	}{
		"none": {
			will: manifest(v1, with(stable, "VERSION", "v1", "REPLICAS", "2"), with(scaler, "MOST", "10"), with(secret, "VALUE", "s3cret"), "apiVersion: v1\nkind: Service\nmetadata: {name: made-anew}\nspec: {ports: [{port: 80}]}\n"),
			was:  manifest(v2, with(stable, "VERSION", "v1", "REPLICAS", "3"), with(scaler, "MOST", "10"), with(secret, "VALUE", "s3cret"), settings),
		},
		"immutable": {
			will: manifest(v1, settings+"data: {a: old}\n"),
			was:  manifest(v2, settings+"data: {a: new}\nimmutable: true\n"),
			want: map[rollback.DangerKind]string{rollback.DangerImmutable: "ConfigMap settings"},
		},
		"not-served": {
			will: manifest(v1, "apiVersion: gone.example/v1\nkind: Relic\nmetadata: {name: relic}\n"), was: v2,
			meanwhile: func(t *testing.T, _ string) {
				t.Helper()
				definitions := c.resource(t, decode(t, "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n")[0].GroupVersionKind(), "")
				if err := definitions.Delete(t.Context(), "relics.gone.example", metav1.DeleteOptions{}); err != nil {
					t.Fatal(err)
				}
				eventually(t, func() error {
					_, err := c.client.Discovery().ServerResourcesForGroupVersion("gone.example/v1")
					if err == nil {
						return errStillServed
					}
					return nil
				})
			},
			want: map[rollback.DangerKind]string{rollback.DangerUnbuildable: "Relic"},
		},
		"forbidden": {
			will: v1, was: manifest(v2, settings), as: "nobody-deletes",
			want: map[rollback.DangerKind]string{rollback.DangerUnbuildable: "ConfigMap settings"},
		},
		"namespace": {
			will: v1, was: manifest(v2, "apiVersion: v1\nkind: Namespace\nmetadata: {name: of-the-chart}\n"),
			want: map[rollback.DangerKind]string{rollback.DangerNamespace: "Namespace of-the-chart"},
		},
		"pvc": {
			will: v1, was: manifest(v2, with(claim, "%s", ""), with(claim, "%s", "-kept, annotations: {helm.sh/resource-policy: keep}")),
			want: map[rollback.DangerKind]string{rollback.DangerPVC: "PersistentVolumeClaim data"},
		},
		"secret": {
			will: manifest(v1, with(secret, "VALUE", "0ld-s3cret")), was: manifest(v2, with(secret, "VALUE", "n3w-s3cret")),
			want: map[rollback.DangerKind]string{rollback.DangerSecret: "Secret key"},
		},
		"secret-by-hand": {
			will: manifest(v1, with(secret, "VALUE", "0ld-s3cret")), was: manifest(v2, with(secret, "VALUE", "0ld-s3cret")),
			meanwhile: func(t *testing.T, namespace string) {
				t.Helper()
				_, err := c.client.CoreV1().Secrets(namespace).Patch(t.Context(), "key", types.MergePatchType, []byte(`{"stringData":{"key":"n3w-s3cret"}}`), metav1.PatchOptions{})
				if err != nil {
					t.Fatal(err)
				}
			},
			want: map[rollback.DangerKind]string{rollback.DangerSecret: "Secret key"},
		},
		"hook": {
			will: v1, was: manifest(v2, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: migrate, annotations: {helm.sh/hook: pre-upgrade}}\n"),
			want: map[rollback.DangerKind]string{rollback.DangerHook: "migrate"},
		},
		"stable": {
			will: manifest(v1, with(stable, "VERSION", "v1", "REPLICAS", "2")), was: manifest(v2, with(stable, "VERSION", "v2", "REPLICAS", "2")),
			want: map[rollback.DangerKind]string{rollback.DangerStable: "Deployment stable"},
		},
		"replicas": {
			will: manifest(v1, with(stable, "VERSION", "v1", "REPLICAS", "2"), with(scaler, "MOST", "3")),
			was:  manifest(v2, with(stable, "VERSION", "v1", "REPLICAS", "5"), with(scaler, "MOST", "10")),
			want: map[rollback.DangerKind]string{rollback.DangerReplicas: "Deployment stable"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			namespace := "danger-" + name
			c.upgrade(t, namespace, r.will)
			c.upgrade(t, namespace, r.was)
			if r.meanwhile != nil {
				r.meanwhile(t, namespace)
			}
			if r.as != "" {
				c.grant(t, r.as, namespace, "*")
			}
			door := c.door(t, func() error { return errSpent }, r.as)
			p := plan(t, door, namespace, 1)
			before := c.versions(t, namespace, r.will, r.was)
			outlook, err := door.Check(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			found := make(map[rollback.DangerKind]string)
			for _, d := range outlook.Dangers {
				found[d.Kind] += d.What
			}
			for kind, names := range r.want {
				if !strings.Contains(found[kind], names) {
					t.Errorf("a danger of kind %s names %s: got %v", kind, names, outlook.Dangers)
				}
			}
			if len(outlook.Dangers) != len(r.want) {
				t.Errorf("nothing else is dangerous: got %q", outlook.Dangers)
			}
			if text, _ := json.Marshal(outlook); strings.Contains(string(text), "s3cret") {
				t.Errorf("what is in a Secret is never said: %s", text)
			}
			if after := c.versions(t, namespace, r.will, r.was); !slices.Equal(before, after) {
				t.Errorf("looking ahead changes nothing: %v became %v", before, after)
			}
		})
	}
}

// versions are those of all objects of both manifests and of all revisions, but
// for Deployments, whose status the cluster writes.
func (c *cluster) versions(t *testing.T, namespace string, manifests ...string) []string {
	t.Helper()
	var all []string
	for _, m := range manifests {
		for _, o := range decode(t, m) {
			if o.GetKind() == "Relic" {
				continue
			}
			if live := c.live(t, o, namespace); live != nil && o.GetKind() != "Deployment" && o.GetKind() != "HorizontalPodAutoscaler" {
				all = append(all, o.GetKind()+" "+o.GetName()+" "+live.GetResourceVersion())
			} else if live != nil {
				all = append(all, o.GetKind()+" "+o.GetName()+" "+string(rune('0'+live.GetGeneration())))
			}
		}
	}
	secrets, err := c.client.CoreV1().Secrets(namespace).List(t.Context(), metav1.ListOptions{LabelSelector: "owner=helm"})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range secrets.Items {
		all = append(all, s.Name+" "+s.ResourceVersion)
	}
	return all
}

// grant gives a user every right to the groups but to delete, and waits until the
// release in the namespace can be read.
func (c *cluster) grant(t *testing.T, user, namespace string, groups ...string) {
	t.Helper()
	role := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: user},
		Rules:      []rbacv1.PolicyRule{{APIGroups: groups, Resources: []string{"*"}, Verbs: []string{"get", "list", "watch", "create", "update", "patch"}}},
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: user}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: user},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}},
	}
	if _, err := c.client.RbacV1().ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.client.RbacV1().ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		_, err := c.door(t, nil, user).History(t.Context(), rollback.Key{Namespace: namespace, Release: release})
		return err
	})
}

// owners: a live object tells who manages it, also when the chart does not.
func (c *cluster) owners(t *testing.T) {
	const namespace = "owned"
	c.upgrade(t, namespace, with(canary, "VERSION", "v1"))
	c.upgrade(t, namespace, with(canary, "VERSION", "v2"))
	door := c.door(t, nil, "")
	look := func() rollback.Owner {
		t.Helper()
		outlook, err := door.Check(t.Context(), plan(t, door, namespace, 1))
		if err != nil {
			t.Fatal(err)
		}
		return outlook.Owner
	}
	if got := look(); got != (rollback.Owner{}) {
		t.Errorf("what only Helm wrote has no owner: got %+v", got)
	}
	patch := `{"metadata":{"labels":{"helm.toolkit.fluxcd.io/name":"shop","helm.toolkit.fluxcd.io/namespace":"flux-system"}}}`
	if _, err := c.client.AppsV1().Deployments(namespace).Patch(t.Context(), "canary", types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := look(); got.Tool != "Flux" || got.Object != "HelmRelease flux-system/shop" || got.Weights {
		t.Errorf("Flux labels what it manages: got %+v", got)
	}
	// Nobody may list what is not served, and nobody has to.
	c.grant(t, "nobody-asks-flagger", namespace, "", "apps", "autoscaling")
	unaware := c.door(t, nil, "nobody-asks-flagger")
	if _, err := unaware.Check(t.Context(), plan(t, unaware, namespace, 1)); err != nil {
		t.Errorf("without Flagger nobody needs rights to its kinds: got %v", err)
	}
	c.define(t, "flagger.app", "v1beta1", "Canary")
	if got, err := unaware.Check(t.Context(), plan(t, unaware, namespace, 1)); err == nil || !strings.Contains(err.Error(), "resources: [canaries], verbs: [list]") {
		t.Errorf("where Flagger is, backout has to see its Canaries: got %+v, %v", got, err)
	}
	c.create(t, "apiVersion: flagger.app/v1beta1\nkind: Canary\nmetadata: {name: shop}\nspec: {targetRef: {apiVersion: apps/v1, kind: Deployment, name: canary}}\n", namespace)
	if got := look(); got.Tool != "Flagger" || got.Object != "Canary owned/shop" || !got.Weights {
		t.Errorf("Flagger sets the weights of what its Canary names: got %+v", got)
	}
}
