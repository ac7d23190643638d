package traffic_test

import (
	"maps"
	"testing"

	"github.com/upcommerce/backout/rollback"
)

// TestGlance: what leads to a shed may be old, for the patch tells; what leads to none
// may not.
func TestGlance(t *testing.T) {
	live := map[string]string{canary: "true", weight: "20"}
	manifest := rollback.Manifest{declare("web-canary", live)}
	for name, c := range map[string]struct {
		// behind is the weight that the API server has at hand, "" for no object.
		behind, now string
		reads       int
	}{
		"as it is":                              {"20", "20", 0},
		"somebody has given it more":            {"20", "50", 1},
		"somebody has given it traffic again":   {"0", "20", 1},
		"it was made a moment ago":              {"", "20", 1},
		"somebody has set it to zero meanwhile": {"20", "0", 1},
	} {
		t.Run(name, func(t *testing.T) {
			router, server := newRouter(t, ingress("web-canary", with(live, c.behind)))
			server.behind = maps.Clone(server.ingresses)
			if c.behind == "" {
				clear(server.behind)
			}
			if c.behind != c.now {
				server.put(ingress("web-canary", with(live, c.now)))
			}
			seen, _ := router.Glance(t.Context(), shop(), manifest) // it has no endpoints to look at
			told, err := router.ShedSeen(t.Context(), shop(), seen, nil)
			if err != nil || len(told) != 1 || told[0].From != c.now || server.annotations("shop/web-canary")[weight] != "0" {
				t.Errorf("told %v, %v; the weight is %s, want it to go from %s to 0", told, err, server.annotations("shop/web-canary")[weight], c.now)
			}
			if server.gets != c.reads {
				t.Errorf("the route was read by itself %d times, want %d", server.gets, c.reads)
			}
		})
	}
}

// with returns the annotations with that weight.
func with(annotations map[string]string, value string) map[string]string {
	all := maps.Clone(annotations)
	all[weight] = value
	return all
}
