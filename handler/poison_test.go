package handler_test

import (
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback/report/reporttest"
)

// TestNoPageMisleadsAReader has texts in every field of a record: safety rule 13. html/template
// escapes markup, and nothing else.
func TestNoPageMisleadsAReader(t *testing.T) {
	for _, text := range reporttest.Poisons() {
		r := reporttest.Poison(rolledBack("web", 2, time.Hour), text)
		r.Key.Namespace, r.Key.Release = "shop", "web"
		s, _ := newPageServer(t, r)
		for _, path := range []string{"/", "/records/shop/web/2"} {
			if c := reporttest.Misleading(get(s.OpsHandler(), path).Body.String()); c != "" {
				t.Errorf("with %q everywhere %s contains %q", text, path, c)
			}
		}
	}
}
