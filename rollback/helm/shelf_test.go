package helm

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/upcommerce/backout/rollback"
)

// long is a manifest of about so many bytes.
func long(size int) rollback.Manifest {
	return rollback.Manifest{{"kind": "ConfigMap", "data": map[string]any{"a": strings.Repeat("x", size)}}}
}

func TestShelfIsBounded(t *testing.T) {
	var s shelf
	for i := range 200 {
		s.add(fmt.Sprint("large", i), long(300<<10))
	}
	held := 0
	for e := s.order.Front(); e != nil; e = e.Next() {
		held += len(e.Value.(volume).text)
	}
	if held > shelfSize || held != s.size || s.order.Len() != len(s.byKey) {
		t.Errorf("the texts together are bounded, whatever their number: %d bytes, counted %d, of %d manifests", held, s.size, s.order.Len())
	}
	if held < shelfSize-2*(300<<10) {
		t.Errorf("the room is used: got %d bytes", held)
	}
	for i := range 2000 {
		s.add(fmt.Sprint("small", i), long(100))
	}
	if _, ok := s.get("small0"); !ok {
		t.Error("small manifests push out few")
	}
	before := s.size
	s.add("huge", long(shelfLargest))
	if _, ok := s.get("huge"); ok || s.size != before {
		t.Error("a manifest that would push out many others is not kept")
	}
}

func TestShelfKeepsWhatIsAskedFor(t *testing.T) {
	var s shelf
	s.add("asked", long(1000))
	for i := range 100 {
		s.add(fmt.Sprint(i), long(shelfLargest/2))
		if _, ok := s.get("asked"); !ok {
			t.Fatal("what is asked for longest ago goes first")
		}
	}
	if _, ok := s.get("0"); ok {
		t.Error("what nobody asked for goes")
	}
	size := s.size
	s.add("asked", long(1000))
	if s.size != size {
		t.Error("what is there is not counted twice")
	}
}

// TestShelfChangesNothing: a manifest comes back as it was decoded, its numbers
// too, and is the caller's.
func TestShelfChangesNothing(t *testing.T) {
	const text = "kind: Deployment\nspec: {replicas: 9, weight: 0.5, on: true, none: null, big: 4294967296, text: '<&\u2028', list: [{port: 80}, [], {}]}\n"
	m, err := objects(base + "---\n" + text)
	if err != nil {
		t.Fatal(err)
	}
	var s shelf
	s.add("a", m)
	for range 2 {
		got, ok := s.get("a")
		if !ok || !reflect.DeepEqual(got, m) {
			t.Fatalf("want %v, got %v", m, got)
		}
		got[0]["kind"] = "Changed"
	}
}
