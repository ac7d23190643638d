package rollback_test

import (
	"fmt"
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

// A pause is ended by the command for its own scope: that of the release leaves the wider ones.
func TestResumeCommandsEndThePausesThatApply(t *testing.T) {
	k := rollback.Key{Namespace: "shop", Release: "web"}
	for paused, want := range map[string]string{
		"release shop/web is paused: 2026-03-04 by ann":                          "[backout resume shop/web]",
		"namespace shop is paused":                                               "[backout resume shop]",
		"everything is paused; release shop/web is paused: x":                    "[backout resume backout resume shop/web]",
		"everything is paused: y; namespace shop is paused":                      "[backout resume backout resume shop]",
		"namespace other is paused: a note of another client":                    "[backout resume shop/web]",
		"namespace shop is paused: note; namespace shop; rm -rf / is paused: it": "[backout resume shop]",
	} {
		if got := fmt.Sprint(k.ResumeCommands(paused)); got != want {
			t.Errorf("%q: got %s, want %s", paused, got, want)
		}
	}
}
