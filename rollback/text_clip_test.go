package rollback_test

import (
	"strings"
	"testing"

	"github.com/upcommerce/backout/rollback"
)

// TestClippedTextsAreBoundedAsTheyAreStored: a record's YAML has a character beyond U+FFFF as
// an escape of ten bytes.
func TestClippedTextsAreBoundedAsTheyAreStored(t *testing.T) {
	for _, c := range []struct {
		text, want string
		n          int
	}{
		{strings.Repeat("x", 10), strings.Repeat("x", 10), 10},
		{strings.Repeat("x", 11), strings.Repeat("x", 9) + "…", 10},
		{strings.Repeat("語", 11), strings.Repeat("語", 9) + "…", 10},
		{strings.Repeat("🚀", 2), "🚀🚀", 8},
		{strings.Repeat("🚀", 3), "🚀…", 8},
		{"xxxxxxx🚀", "xxxxxxx…", 10},
		{"🚀", "…", 3},
	} {
		if got := rollback.Clip(c.text, c.n); got != c.want {
			t.Errorf("Clip(%q, %d) = %q, want %q", c.text, c.n, got, c.want)
		}
	}
}
