package helm

import (
	"context"
	"testing"

	"helm.sh/helm/v3/pkg/release"

	"github.com/upcommerce/backout/rollback"
)

// TestWhatMakesARollbackLarge: a large one waits for its turn, a small one does not.
func TestWhatMakesARollbackLarge(t *testing.T) {
	big := func(number int) func(*guarded) {
		return func(g *guarded) {
			stored := aRelease(number, release.StatusFailed)
			stored.Manifest = string(make([]byte, smallText+1))
			g.stored[secretName("web", number)] = stored
		}
	}
	for what, c := range map[string]struct {
		change func(*guarded)
		waits  bool
	}{
		"small revisions":             {func(*guarded) {}, false},
		"a large suspect":             {big(5), true},
		"a large target":              {big(2), true},
		"a large attempt":             {big(6), true},
		"failed upgrades, maybe many": {func(g *guarded) { g.plan.Failed = []rollback.Revision{{Number: 6}} }, true},
	} {
		client := &Client{large: newLarge()}
		if _, err := client.large.begin(t.Context()); err != nil {
			t.Fatal(err)
		}
		g := interrupted(t)
		c.change(g)
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := client.rollBackLarge(ended, g.guard); (err != nil) != c.waits {
			t.Errorf("%s: it waits for another large one: want %v, got %v", what, c.waits, err)
		}
	}
}
