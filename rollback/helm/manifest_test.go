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

// TestManifest: every shed reads one.
func TestManifest(t *testing.T) {
	c := newCluster(t)
	if _, err := c.History(t.Context(), web(), rollback.Stored); err != nil {
		t.Fatal(err)
	}
	requests := 0
	c.before = func(string, string) int { requests++; return 0 }
	m, err := c.Manifest(t.Context(), web(), 3)
	if want := []string{"ConfigMap", "Deployment", "Ingress"}; err != nil || !slices.Equal(kindsOf(m), want) {
		t.Fatalf("a manifest has the objects that Helm rendered: got %v, %v", m, err)
	}
	if requests != 0 {
		t.Errorf("a revision that History just read costs no request: got %d", requests)
	}
	c.resetCounts()
	m[0]["kind"] = "Changed"
	m[1]["metadata"].(map[string]any)["name"] = "changed"
	again, err := c.Manifest(t.Context(), web(), 3)
	if err != nil || again[0]["kind"] != "ConfigMap" || again[1]["metadata"].(map[string]any)["name"] != "web-canary" {
		t.Errorf("a caller may change its manifest: the next one gets %v, %v", again, err)
	}
	for range 2 {
		if _, err := c.Manifest(t.Context(), web(), 2); err != nil {
			t.Fatal(err)
		}
	}
	if got := c.reads["secrets/"+secretName(2)]; got != 1 {
		t.Errorf("an older revision is read once: got %d times", got)
	}
}

// TestManifestOfAnotherInstallation: it has the same number in another Secret.
func TestManifestOfAnotherInstallation(t *testing.T) {
	c := newCluster(t)
	for _, number := range []int{2, 3} {
		if _, err := c.Manifest(t.Context(), web(), number); err != nil {
			t.Fatal(err)
		}
	}
	for number := 1; number <= 3; number++ {
		delete(c.objects, "secrets/"+secretName(number))
		c.revision(t, number, release.StatusDeployed, "apiVersion: v1\nkind: Pod\nmetadata: {name: other}\n")
	}
	// No caller has listed the revisions: Manifest reads the metadata.
	if m, err := c.Manifest(t.Context(), web(), 2); err != nil || !slices.Equal(kindsOf(m), []string{"Pod"}) {
		t.Errorf("a cached manifest is not taken for another Secret's: got %v, %v", m, err)
	}
	if _, err := c.History(t.Context(), web(), rollback.Stored); err != nil {
		t.Fatal(err)
	}
	if m, err := c.Manifest(t.Context(), web(), 3); err != nil || !slices.Equal(kindsOf(m), []string{"Pod"}) {
		t.Errorf("a cached manifest is not taken for another Secret's: got %v, %v", m, err)
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
		t.Fatalf("the objects of a List take its place: got %v, %v", m, err)
	}
	if m[1]["apiVersion"] != "v1" {
		t.Errorf("the kind that the items of a typed list leave out is added: got %v", m[1])
	}
}
