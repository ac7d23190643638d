package helm

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"helm.sh/helm/v3/pkg/release"

	"github.com/upcommerce/backout/rollback"
)

// TestARollbackDoesNotWaitLong: its preflight must not grow old behind the hook of another one.
func TestARollbackDoesNotWaitLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := &Client{large: newLarge()}
		end, err := client.large.begin(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(time.Hour, end)
		g := interrupted(t)
		g.plan.Failed = []rollback.Revision{{Number: 6}}
		began := time.Now()
		_, err = client.rollBackLarge(t.Context(), g.guard)
		if waited := time.Since(began); err == nil || waited != maxTurnWait {
			t.Errorf("it gives up after %s: got %v after %s", maxTurnWait, err, waited)
		}
	})
}

// TestWhatMakesARollbackLarge: a large one waits for its turn, a small one does not.
func TestWhatMakesARollbackLarge(t *testing.T) {
	big := func(number int) func(*guarded) {
		return func(g *guarded) {
			stored := aRelease(number, release.StatusFailed)
			stored.Manifest = string(make([]byte, smallText+1))
			g.stored[objectName("web", number)] = stored
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
