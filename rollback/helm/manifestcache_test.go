package helm

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/upcommerce/backout/rollback"
)

// manifestOf returns a manifest of about so many bytes.
func manifestOf(size int) rollback.Manifest {
	return rollback.Manifest{{"kind": "ConfigMap", "data": map[string]any{"a": strings.Repeat("x", size)}}}
}

func TestManifestCacheIsBounded(t *testing.T) {
	var c manifestCache
	for i := range 200 {
		c.add(fmt.Sprint("large", i), manifestOf(300<<10))
	}
	held := 0
	for e := c.order.Front(); e != nil; e = e.Next() {
		held += len(e.Value.(cachedManifest).text)
	}
	if held > manifestCacheSize || held != c.size || c.order.Len() != len(c.byKey) {
		t.Errorf("the texts together are bounded: %d bytes, counted %d, of %d manifests", held, c.size, c.order.Len())
	}
	if held < manifestCacheSize-2*(300<<10) {
		t.Errorf("the cache uses its size: got %d bytes", held)
	}
	for i := range 2000 {
		c.add(fmt.Sprint("small", i), manifestOf(100))
	}
	if _, ok := c.get("small0"); !ok {
		t.Error("small manifests evict few others")
	}
	before := c.size
	c.add("huge", manifestOf(maxCachedManifest))
	if _, ok := c.get("huge"); ok || c.size != before {
		t.Error("a manifest that would evict many others is not cached")
	}
}

func TestManifestCacheEvictsTheLeastRecentlyUsed(t *testing.T) {
	var c manifestCache
	c.add("used", manifestOf(1000))
	for i := range 100 {
		c.add(fmt.Sprint(i), manifestOf(maxCachedManifest/2))
		if _, ok := c.get("used"); !ok {
			t.Fatal("the least recently used manifest is evicted first")
		}
	}
	if _, ok := c.get("0"); ok {
		t.Error("an unused manifest is evicted")
	}
	size := c.size
	c.add("used", manifestOf(1000))
	if c.size != size {
		t.Error("a cached manifest is not counted twice")
	}
}

// TestManifestCacheChangesNothing: a manifest is returned as it was decoded, its numbers
// too, and the caller may change it.
func TestManifestCacheChangesNothing(t *testing.T) {
	const text = "kind: Deployment\nspec: {replicas: 9, weight: 0.5, on: true, none: null, big: 4294967296, text: '<&\u2028', list: [{port: 80}, [], {}]}\n"
	m, err := decodeManifest(base + "---\n" + text)
	if err != nil {
		t.Fatal(err)
	}
	var c manifestCache
	c.add("a", m)
	for range 2 {
		got, ok := c.get("a")
		if !ok || !reflect.DeepEqual(got, m) {
			t.Fatalf("want %v, got %v", m, got)
		}
		got[0]["kind"] = "Changed"
	}
}
