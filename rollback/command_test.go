package rollback_test

import (
	"testing"

	"github.com/upcommerce/backout/rollback"
)

func TestAShellReadsEachWordOfACommandLiterally(t *testing.T) {
	for word, want := range map[string]string{
		"web": "web", "shop/web": "shop/web", "a b": "'a b'", "it's": `'it'\''s'`, "$(reboot)": "'$(reboot)'", "": "''", "a\nb": "'a\nb'",
	} {
		if got := rollback.Quote(word); got != want {
			t.Errorf("a shell reads %q literally if it is written as %s: got %s", word, want, got)
		}
	}
}
