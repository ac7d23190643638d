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

// pod is the end of a Deployment whose pods cannot be scheduled.
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

const job = `apiVersion: batch/v1
kind: Job
metadata: {name: migrate-REVISION}
spec: {suspend: SUSPEND, template: {spec: {restartPolicy: Never, containers: [{name: m, image: "migrate:v1"}]}}}
`

// dangers checks the result of a preflight for each danger, with a release that has two
// revisions.
func (c *cluster) dangers(t *testing.T) {
	const settings = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n"
	const claim = "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: data%s}\nspec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Mi}}}\n"
	v1, v2 := with(canary, "VERSION", "v1"), with(canary, "VERSION", "v2")
	c.define(t, "gone.example", "v1", "Relic")
	c.define(t, "data.example", "v1", "Topic")
	for name, r := range map[string]struct {
		will, was string
		// meanwhile runs after the second revision is installed.
		meanwhile func(t *testing.T, namespace string)
		// as is the user whose rights backout has; "" is the admin.
		as   string
		want map[rollback.DangerKind]string
	}{
		"none": {
			will: manifest(v1, with(stable, "VERSION", "v1", "REPLICAS", "2"), with(scaler, "MOST", "10"), with(secret, "VALUE", "s3cret"), "apiVersion: v1\nkind: Service\nmetadata: {name: recreated}\nspec: {ports: [{port: 80}]}\n"),
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
				c.undefine(t, "gone.example", "v1", "relics")
			},
			want: map[rollback.DangerKind]string{rollback.DangerUnbuildable: "Relic"},
		},
		"forbidden": {
			will: v1, was: manifest(v2, settings), as: "no-delete",
			want: map[rollback.DangerKind]string{rollback.DangerForbidden: "ConfigMap settings"},
		},
		"namespace": {
			will: v1, was: manifest(v2, "apiVersion: v1\nkind: Namespace\nmetadata: {name: of-the-chart}\n"),
			want: map[rollback.DangerKind]string{rollback.DangerForeign: "Namespace of-the-chart"},
		},
		"pvc": {
			will: v1, was: manifest(v2, with(claim, "%s", ""), with(claim, "%s", "-kept, annotations: {helm.sh/resource-policy: keep}")),
			want: map[rollback.DangerKind]string{rollback.DangerPVC: "PersistentVolumeClaim data"},
		},
		"secret": {
			will: manifest(v1, with(secret, "VALUE", "0ld-s3cret")), was: manifest(v2, with(secret, "VALUE", "n3w-s3cret")),
			want: map[rollback.DangerKind]string{rollback.DangerSecret: "Secret key"},
		},
		"secret-manually": {
			will: manifest(v1, with(secret, "VALUE", "0ld-s3cret")), was: manifest(v2, with(secret, "VALUE", "0ld-s3cret")),
			meanwhile: func(t *testing.T, namespace string) {
				t.Helper()
				_, err := c.client.CoreV1().Secrets(namespace).Patch(t.Context(), "key", types.MergePatchType, []byte(`{"stringData":{"key":"n3w-s3cret"}}`), metav1.PatchOptions{})
				if err != nil {
					t.Fatal(err)
				}
			},
			// Both revisions declare it the same: it stays as it is.
		},
		"hook": {
			will: v1, was: manifest(v2, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: migrate, annotations: {helm.sh/hook: pre-upgrade}}\n"),
			want: map[rollback.DangerKind]string{rollback.DangerHook: "migrate"},
		},
		"job": {
			will: manifest(v1, with(job, "REVISION", "1", "SUSPEND", "false")), was: manifest(v2, with(job, "REVISION", "2", "SUSPEND", "true")),
			want: map[rollback.DangerKind]string{rollback.DangerJob: "create Job migrate-1, which runs again"},
		},
		"data": {
			will: v1, was: manifest(v2, "apiVersion: data.example/v1\nkind: Topic\nmetadata: {name: orders}\n"),
			want: map[rollback.DangerKind]string{rollback.DangerData: "delete Topic orders"},
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
			helmClient := c.helmClient(t, func() error { return errSpent }, r.as)
			p := plan(t, helmClient, namespace, 1)
			before := c.versions(t, namespace, r.will, r.was)
			result, err := helmClient.Preflight(t.Context(), p)
			if err != nil {
				t.Fatal(err)
			}
			found := make(map[rollback.DangerKind]string)
			for _, d := range result.Dangers {
				found[d.Kind] += d.What
			}
			for kind, names := range r.want {
				if !strings.Contains(found[kind], names) {
					t.Errorf("a danger of kind %s must name %s: got %v", kind, names, result.Dangers)
				}
			}
			if len(result.Dangers) != len(r.want) {
				t.Errorf("there are no other dangers: got %q", result.Dangers)
			}
			if text, _ := json.Marshal(result); strings.Contains(string(text), "s3cret") {
				t.Errorf("the result must never contain the content of a Secret: %s", text)
			}
			if after := c.versions(t, namespace, r.will, r.was); !slices.Equal(before, after) {
				t.Errorf("a preflight changes nothing: %v became %v", before, after)
			}
		})
	}
}

// versions returns the resource versions of all objects of the manifests and of all
// revisions; for kinds whose status the cluster writes, the generations.
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

// grant gives a user every right but delete in the groups, and waits until the user can
// read the release in the namespace.
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
		_, err := c.helmClient(t, nil, user).History(t.Context(), rollback.Key{Namespace: namespace, Release: release}, rollback.Stored)
		return err
	})
}

// owners checks that backout finds the tool that manages a live object, also if the chart
// does not name it.
func (c *cluster) owners(t *testing.T) {
	const namespace = "owned"
	c.upgrade(t, namespace, with(canary, "VERSION", "v1"))
	c.upgrade(t, namespace, with(canary, "VERSION", "v2"))
	helmClient := c.helmClient(t, nil, "")
	owner := func() rollback.Owner {
		t.Helper()
		result, err := helmClient.Preflight(t.Context(), plan(t, helmClient, namespace, 1))
		if err != nil {
			t.Fatal(err)
		}
		return result.Owner
	}
	if got := owner(); got != (rollback.Owner{}) {
		t.Errorf("an object that only Helm wrote has no owner: got %+v", got)
	}
	patch := `{"metadata":{"labels":{"helm.toolkit.fluxcd.io/name":"shop","helm.toolkit.fluxcd.io/namespace":"flux-system"}}}`
	if _, err := c.client.AppsV1().Deployments(namespace).Patch(t.Context(), "canary", types.MergePatchType, []byte(patch), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := owner(); got.Tool != "Flux" || got.Object != "HelmRelease flux-system/shop" || got.SetsWeights {
		t.Errorf("Flux labels the objects that it manages: got %+v", got)
	}
	// This user may not list kinds of Flagger, which the cluster does not serve yet.
	c.grant(t, "no-flagger", namespace, "", "apps", "autoscaling")
	limited := c.helmClient(t, nil, "no-flagger")
	if _, err := limited.Preflight(t.Context(), plan(t, limited, namespace, 1)); err != nil {
		t.Errorf("without Flagger, backout needs no rights to its kinds: got %v", err)
	}
	c.define(t, "flagger.app", "v1beta1", "Canary")
	if got, err := limited.Preflight(t.Context(), plan(t, limited, namespace, 1)); err != nil || !strings.Contains(got.Note, "resources: [canaries], verbs: [list]") {
		t.Errorf("with Flagger, the preflight says that backout needs the right to list its Canaries: got %+v, %v", got, err)
	}
	c.create(t, "apiVersion: flagger.app/v1beta1\nkind: Canary\nmetadata: {name: shop}\nspec: {targetRef: {apiVersion: apps/v1, kind: Deployment, name: canary}}\n", namespace)
	if got := owner(); got.Tool != "Flagger" || got.Object != "Canary owned/shop" || !got.SetsWeights {
		t.Errorf("Flagger sets the weights of the workload that its Canary names: got %+v", got)
	}
}
