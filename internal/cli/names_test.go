package cli

import (
	"testing"

	"github.com/upcommerce/backout/rollback"
)

func TestARevisionIsOptional(t *testing.T) {
	web := rollback.Key{Namespace: "shop", Release: "web"}
	for _, c := range []struct {
		text     string
		revision int
		refused  bool
	}{
		{"shop/web", 0, false},
		{"shop/web/7", 7, false},
		{"web", 0, true},
		{"shop/web/0", 0, true},
		{"shop/web/x", 0, true},
		{"shop/web/7/8", 0, true},
		{"/web/7", 0, true},
	} {
		k, revision, err := parseRevision(c.text)
		if (err != nil) != c.refused || err == nil && (k != web || revision != c.revision) {
			t.Errorf("%q: want revision %d, refused %t; got %s %d, %v", c.text, c.revision, c.refused, k, revision, err)
		}
	}
}
