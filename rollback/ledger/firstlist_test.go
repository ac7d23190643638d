package ledger

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/upcommerce/backout/rollback"
)

// TestAFirstListKeepsLittle: client-go keeps every object until it has all, and another client
// has stored 1,000 that are as long as a record can be.
func TestAFirstListKeepsLittle(t *testing.T) {
	var all firstLists
	namespaces := []*sink{{list: firstList{all: &all}}, {list: firstList{all: &all}}, {list: firstList{all: &all}}, {list: firstList{all: &all}}}
	kept := func(s *sink) (size int) {
		keep := s.Transformer()
		for i := range 1000 {
			cm := configMapOf(strings.Repeat("x", 250<<10))
			cm.Name = fmt.Sprint("backout.v1.web.v", i)
			object, err := keep(cm)
			if err != nil {
				t.Fatal(err)
			}
			size += object.(*corev1.ConfigMap).Size()
		}
		return size
	}
	total := 0
	for _, s := range namespaces {
		size := kept(s)
		if total += size; size > 9<<20 {
			t.Errorf("the list of one namespace keeps %d bytes, want at most 9 MiB", size)
		}
	}
	if total > 25<<20 {
		t.Errorf("the lists of all namespaces keep %d bytes, want at most 25 MiB", total)
	}
	if again := kept(namespaces[0]); again < 7<<20 {
		t.Errorf("a list that begins again has its room: got %d bytes", again)
	}
	for _, s := range namespaces {
		s.list.begin()
	}
	if all.size != 0 {
		t.Errorf("nothing is kept after the lists: got %d bytes", all.size)
	}
}

// TestANamespaceWithTooManyRecordsIsNotCached: as if those beyond the bound did not exist.
func TestANamespaceWithTooManyRecordsIsNotCached(t *testing.T) {
	var c recordCache
	var all firstLists
	warned := 0
	s := &sink{
		namespace: "shop", cache: &c, list: firstList{all: &all}, delivered: make(map[string]delivery),
		changed: func(*corev1.ConfigMap) {}, gone: func(rollback.Key, int) {}, tooMany: func() { warned++ },
	}
	object := func(i int) *corev1.ConfigMap {
		cm := configMapOf("{}")
		cm.Name = fmt.Sprint("backout.v1.web.v", i)
		return cm
	}
	list := func(n int) {
		keep := s.Transformer()
		var objects []any
		for i := range n {
			if object, err := keep(object(i)); err == nil {
				objects = append(objects, object)
			}
		}
		if err := s.Replace(objects, ""); err != nil {
			t.Fatal(err)
		}
	}
	k := rollback.Key{Namespace: "shop", Release: "web"}
	complete := func() bool { _, complete := c.get(k); return complete }
	list(maxFollowed)
	if !complete() || warned != 0 {
		t.Errorf("a namespace with as many as are followed is complete: got %t, %d warnings", complete(), warned)
	}
	for i := range 3 {
		_ = s.Add(object(maxFollowed + i))
	}
	if complete() || warned != 1 || len(s.delivered) != maxFollowed {
		t.Errorf("beyond them, a namespace is not complete: got %t, %d warnings, %d records", complete(), warned, len(s.delivered))
	}
	list(maxFollowed + 1)
	if complete() || warned != 2 || len(s.delivered) != maxFollowed {
		t.Errorf("nor after a list: got %t, %d warnings, %d records", complete(), warned, len(s.delivered))
	}
}
