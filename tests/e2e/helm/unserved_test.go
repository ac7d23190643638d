package helm

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/upcommerce/backout/rollback"
)

// undefine removes the only kind of a group from the API and waits until the API server no longer serves it.
func (c *cluster) undefine(t *testing.T, group, version, plural string) {
	t.Helper()
	definitions := c.resource(t, decode(t, "apiVersion: apiextensions.k8s.io/v1\nkind: CustomResourceDefinition\n")[0].GroupVersionKind(), "")
	if err := definitions.Delete(t.Context(), plural+"."+group, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		_, err := c.client.Discovery().ServerResourcesForGroupVersion(group + "/" + version)
		if err == nil {
			return errStillServed
		}
		return nil
	})
}

// notServed rolls back a release whose revisions all declare the same object of a kind whose definition is gone.
func (c *cluster) notServed(t *testing.T) {
	const namespace, fossil = "not-served", "apiVersion: left.example/v1\nkind: Fossil\nmetadata: {name: fossil}\nspec: {age: 12345678901234567}\n"
	c.define(t, "left.example", "v1", "Fossil")
	v1, v2 := with(canary, "VERSION", "v1"), with(canary, "VERSION", "v2")
	c.upgrade(t, namespace, manifest(v1, fossil))
	c.upgrade(t, namespace, manifest(v2, fossil))
	helmClient := c.helmClient(t, nil, "")
	c.undefine(t, "left.example", "v1", "fossils")
	p := plan(t, helmClient, namespace, 1)
	result, err := helmClient.Preflight(t.Context(), p)
	if text := strings.Join(result.Differences, "; "); err != nil || len(result.Dangers) > 0 || !strings.Contains(text, "Fossil fossil stays as it is") {
		t.Errorf("the object stops nothing, and the result names it: got %+v, %v", result, err)
	}
	made, err := helmClient.RollBack(t.Context(), p)
	if err != nil || made != 3 {
		t.Fatalf("the release is rolled back as revision 3: got %d, %v", made, err)
	}
	if got := historyOf(t, helmClient, namespace).Newest(); got.Status != rollback.StatusDeployed || got.Content != historyOf(t, helmClient, namespace)[2].Content {
		t.Errorf("revision 3 is deployed and has the content of revision 1: got %+v", got)
	}
	// Helm alone finds the same revision, and works again once the kind is served.
	c.define(t, "left.example", "v1", "Fossil")
	c.upgrade(t, namespace, manifest(v2, fossil))
}
