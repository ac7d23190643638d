package helm_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/release"
	helmtime "helm.sh/helm/v3/pkg/time"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/upcommerce/backout/rollback"
)

// configMap is a document of a manifest; metadata is YAML between braces.
func configMap(metadata, value string) string {
	return fmt.Sprintf("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {%s}\ndata: {a: %s}\n", metadata, value)
}

// both stores revision 4 with the one addition and the suspect revision 5 with the other.
func (c *cluster) both(t *testing.T, suspect, target string, hooks ...*release.Hook) {
	t.Helper()
	for _, r := range []struct {
		number   int
		status   release.Status
		manifest string
		hooks    []*release.Hook
	}{
		{4, release.StatusSuperseded, manifest("v2", "20") + target, hooks},
		{5, release.StatusDeployed, manifest("v3", "20") + suspect, nil},
	} {
		err := c.store.Create(secretName(r.number), &release.Release{
			Name: "web", Namespace: "shop", Version: r.number, Manifest: r.manifest, Hooks: r.hooks,
			Info:  &release.Info{Status: r.status, LastDeployed: helmtime.Now()},
			Chart: &chart.Chart{Metadata: &chart.Metadata{Name: "web", Version: fmt.Sprintf("1.%d.0", r.number)}},
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// An object that is not the release's own is never written: neither the preflight nor the
// rollback itself lets it pass, and nothing else is written either.
func TestNothingIsWrittenOutsideTheRelease(t *testing.T) {
	const clusterScoped = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: extra, labels: {a: %s}}\n"
	ofOthers := "name: extra, annotations: {meta.helm.sh/release-name: ledger, meta.helm.sh/release-namespace: payments}"
	for what, c := range map[string]struct {
		suspect, target, live string
		hook                  string
		words                 []string
	}{
		"another namespace's object is changed": {
			suspect: configMap("name: extra, namespace: payments", "new"), target: configMap("name: extra, namespace: payments", "old"),
			words: []string{"change ConfigMap payments/extra", "outside of namespace shop"},
		},
		"another namespace's object is created": {
			target: configMap("name: extra, namespace: payments", "old"), words: []string{"create ConfigMap payments/extra"},
		},
		"another namespace's object is deleted": {
			suspect: configMap("name: extra, namespace: payments", "new"), words: []string{"delete ConfigMap payments/extra"},
		},
		"an object in a List": {
			target: "---\napiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: extra, namespace: payments}}\n",
			words:  []string{"create ConfigMap payments/extra"},
		},
		"a cluster-scoped object": {
			suspect: fmt.Sprintf(clusterScoped, "new"), target: fmt.Sprintf(clusterScoped, "old"),
			words: []string{"change Namespace extra", "belongs to the whole cluster"},
		},
		"another release's object": {
			suspect: configMap("name: extra", "new"), target: configMap("name: extra", "old"), live: configMap(ofOthers, "new"),
			words: []string{"change ConfigMap extra", "belongs to release payments/ledger"},
		},
		"another release's object that only the target declares": {
			target: configMap("name: extra", "old"), live: configMap(ofOthers, "new"), words: []string{"create ConfigMap extra"},
		},
		"another release's object that only the suspect declares": {
			suspect: configMap("name: extra", "old"), live: configMap(ofOthers, "new"), words: []string{"delete ConfigMap extra"},
		},
		"a name that leads elsewhere": {
			target: configMap("name: ../../payments/secrets/db", "x"), words: []string{"no ConfigMap can have the name", "payments/secrets/db"},
		},
		"a hook outside of the namespace": {
			hook: configMap("name: extra, namespace: payments", "x"), words: []string{"run the hook ConfigMap payments/extra"},
		},
		"a hook with another release's name": {
			hook: configMap("name: extra", "x"), live: configMap(ofOthers, "new"), words: []string{"run the hook ConfigMap extra", "payments/ledger"},
		},
	} {
		t.Run(what, func(t *testing.T) {
			cl := newCluster(t)
			var hooks []*release.Hook
			if c.hook != "" {
				hooks = append(hooks, &release.Hook{Name: "extra", Kind: "ConfigMap", Manifest: c.hook, Events: []release.HookEvent{release.HookPreRollback}})
			}
			cl.both(t, c.suspect, c.target, hooks...)
			cl.live(t, c.live)
			plan := cl.plan(t, 4)
			expectDanger(t, cl.preflight(t, 4), rollback.DangerForeign, c.words...)
			before := maps.Clone(cl.objects)
			_, err := cl.RollBack(t.Context(), plan)
			if err == nil || !strings.Contains(err.Error(), "nothing was written") {
				t.Errorf("the rollback is refused by itself, too: got %v", err)
			}
			for _, w := range c.words {
				if err != nil && !strings.Contains(err.Error(), w) {
					t.Errorf("the error contains %q: got %v", w, err)
				}
			}
			if len(cl.writes) != 0 || len(cl.objects) != len(before) {
				t.Errorf("nothing is written: got %v", cl.writes)
			}
		})
	}
}

// An object that both revisions declare alike needs no write: Helm does not even see it, and
// the rollback goes on.
func TestForeignObjectsThatStayTheSameAreLeftOut(t *testing.T) {
	const named = "---\napiVersion: v1\nkind: Namespace\nmetadata: {name: extra, labels: {helm.sh/chart: %s}, annotations: {revision: %q, at: %q}}\n"
	const elsewhere = "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: extra, namespace: payments}\n" +
		"spec: {template: {metadata: {labels: {app: x, helm.sh/chart: %s}}, spec: {containers: [{name: x, image: x}]}}}\n"
	ofOthers := "name: extra, annotations: {meta.helm.sh/release-name: ledger, meta.helm.sh/release-namespace: payments}"
	for what, c := range map[string]struct{ suspect, target, live string }{
		"another namespace's object": {
			suspect: configMap("name: extra, namespace: payments", "same"), target: configMap("name: extra, namespace: payments", "same"),
		},
		"a cluster-scoped object that names the revision": {
			suspect: fmt.Sprintf(named, "web-1.5.0", "5", "2026-01-02T03:04:05Z"), target: fmt.Sprintf(named, "web-1.4.0", "4", "2025-12-31T00:00:00Z"),
		},
		"a cluster-scoped object that names the images": {
			suspect: fmt.Sprintf(named, "web-1.5.0", "v3", "5"), target: fmt.Sprintf(named, "web-1.4.0", "v2", "4"),
		},
		"another namespace's workload of another chart version": {
			suspect: fmt.Sprintf(elsewhere, "web-1.5.0"), target: fmt.Sprintf(elsewhere, "web-1.4.0"),
		},
		"another release's object": {
			suspect: configMap("name: extra", "same"), target: configMap("name: extra", "same"), live: configMap(ofOthers, "other"),
		},
		"an object that Helm keeps": {
			suspect: configMap("name: extra, namespace: payments, annotations: {helm.sh/resource-policy: keep}", "same"),
		},
	} {
		t.Run(what, func(t *testing.T) {
			cl := newCluster(t)
			cl.both(t, c.suspect, c.target)
			cl.live(t, c.live)
			expectDanger(t, cl.preflight(t, 4), "")
			cl.resetCounts()
			if _, err := cl.RollBack(t.Context(), cl.plan(t, 4)); err != nil {
				t.Fatal(err)
			}
			if slices.ContainsFunc(cl.writes, func(w string) bool { return strings.HasSuffix(w, "/extra") }) {
				t.Errorf("the object is left alone: got %v", cl.writes)
			}
			if n := cl.reads["configmaps/extra"] + cl.reads["namespaces/extra"] + cl.reads["deployments/extra"]; n != 0 {
				t.Errorf("Helm does not see the object: it was read %d times", n)
			}
			if o := cl.objects["deployments/web-canary"]; version(o) != "v2" {
				t.Errorf("the release is rolled back: the canary is %s", version(o))
			}
		})
	}
}

// version is the version label of a Deployment's pods.
func version(o *unstructured.Unstructured) string {
	text, _, _ := unstructured.NestedString(o.Object, "spec", "template", "metadata", "labels", "app.kubernetes.io/version")
	return text
}

// A rollback writes the release's objects as the account of its namespace.
func TestARollbackIsSentAsTheAccountOfItsNamespace(t *testing.T) {
	c := newCluster(t)
	if _, err := c.RollBack(t.Context(), c.plan(t, 2)); err != nil {
		t.Fatal(err)
	}
	for _, object := range []string{"configmaps/web-canary", "deployments/web-canary"} {
		if got := c.users[object]; got != "account-of-shop" {
			t.Errorf("%s was written as %q, want account-of-shop", object, got)
		}
	}
}
