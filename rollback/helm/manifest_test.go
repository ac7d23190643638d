package helm_test

import (
	"slices"
	"testing"

	"helm.sh/helm/v3/pkg/release"

	"github.com/upcommerce/backout/rollback"
)

func kindsOf(m rollback.Manifest) []string {
	var found []string
	for _, o := range m {
		found = append(found, o["kind"].(string))
	}
	return found
}

// TestManifest: a manifest stands on the way of every shed.
func TestManifest(t *testing.T) {
	c := newCluster(t)
	if _, err := c.History(t.Context(), web()); err != nil {
		t.Fatal(err)
	}
	asked := 0
	c.before = func(string, string) int { asked++; return 0 }
	m, err := c.Manifest(t.Context(), web(), 3)
	if want := []string{"ConfigMap", "Deployment", "Ingress"}; err != nil || !slices.Equal(kindsOf(m), want) {
		t.Fatalf("a manifest has what Helm rendered: got %v, %v", m, err)
	}
	if asked != 0 {
		t.Errorf("what the history just read is not asked for again: got %d requests", asked)
	}
	c.forget()
	m[0]["kind"] = "Changed"
	m[1]["metadata"].(map[string]any)["name"] = "changed"
	again, err := c.Manifest(t.Context(), web(), 3)
	if err != nil || again[0]["kind"] != "ConfigMap" || again[1]["metadata"].(map[string]any)["name"] != "web-canary" {
		t.Errorf("a caller may change what it got: the next one gets %v, %v", again, err)
	}
	for range 2 {
		if _, err := c.Manifest(t.Context(), web(), 2); err != nil {
			t.Fatal(err)
		}
	}
	if got := c.reads["secrets/"+secret(2)]; got != 1 {
		t.Errorf("an older revision is read once: got %d times", got)
	}
}

// TestManifestOfAnotherLife: the number comes again, the Secret does not.
func TestManifestOfAnotherLife(t *testing.T) {
	c := newCluster(t)
	for _, number := range []int{2, 3} {
		if _, err := c.Manifest(t.Context(), web(), number); err != nil {
			t.Fatal(err)
		}
	}
	for number := 1; number <= 3; number++ {
		delete(c.objects, "secrets/"+secret(number))
		c.revision(t, number, release.StatusDeployed, "apiVersion: v1\nkind: Pod\nmetadata: {name: other}\n")
	}
	// Nobody listed the revisions: the metadata tells.
	if m, err := c.Manifest(t.Context(), web(), 2); err != nil || !slices.Equal(kindsOf(m), []string{"Pod"}) {
		t.Errorf("what is cached is not taken for another Secret's: got %v, %v", m, err)
	}
	if _, err := c.History(t.Context(), web()); err != nil {
		t.Fatal(err)
	}
	if m, err := c.Manifest(t.Context(), web(), 3); err != nil || !slices.Equal(kindsOf(m), []string{"Pod"}) {
		t.Errorf("what is cached is not taken for another Secret's: got %v, %v", m, err)
	}
}

func TestManifestOfLists(t *testing.T) {
	c := newCluster(t)
	c.revision(t, 4, release.StatusDeployed, `apiVersion: v1
kind: List
items:
  - {apiVersion: v1, kind: Secret, metadata: {name: a}}
  - apiVersion: v1
    kind: ConfigMapList
    items:
      - {metadata: {name: b}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: c}
`)
	m, err := c.Manifest(t.Context(), web(), 4)
	if want := []string{"Secret", "ConfigMap", "Deployment"}; err != nil || !slices.Equal(kindsOf(m), want) {
		t.Fatalf("the objects of a List stand for themselves: got %v, %v", m, err)
	}
	if m[1]["apiVersion"] != "v1" {
		t.Errorf("what a typed list leaves out of its items is filled in: got %v", m[1])
	}
}
