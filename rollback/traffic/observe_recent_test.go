package traffic_test

import (
	"maps"
	"testing"

	"github.com/upcommerce/backout/rollback"
)

// A recent observation may be outdated only if it leads to a shed, whose patch notices a
// change. A route that seems to need no shed is read as it is stored.
func TestRecentObservation(t *testing.T) {
	live := map[string]string{canary: "true", weight: "20"}
	manifest := rollback.Manifest{declare("web-canary", live)}
	for name, c := range map[string]struct {
		// cached is the weight that the API server has cached, "" for no object.
		cached, now string
		reads       int
	}{
		"unchanged": {"20", "20", 0},
		"another client has increased the weight": {"20", "50", 1},
		"another client has restored the weight":  {"0", "20", 1},
		"the Ingress has just been created":       {"", "20", 1},
		"another client has set it to zero":       {"20", "0", 1},
	} {
		t.Run(name, func(t *testing.T) {
			router, server := newRouter(t, ingress("web-canary", with(live, c.cached)))
			server.cached = maps.Clone(server.ingresses)
			if c.cached == "" {
				clear(server.cached)
			}
			if c.cached != c.now {
				server.put(ingress("web-canary", with(live, c.now)))
			}
			observed, _ := router.Observe(t.Context(), shop(), manifest, rollback.Recent) // The server has no endpoints.
			changed, err := router.Shed(t.Context(), shop(), nil, observed.Observation, nil)
			if err != nil || len(changed) != 1 || changed[0].From != c.now || server.annotations("shop/web-canary")[weight] != "0" {
				t.Errorf("got %v, %v; the weight is %s, want it to change from %s to 0", changed, err, server.annotations("shop/web-canary")[weight], c.now)
			}
			if server.gets != c.reads {
				t.Errorf("the route was read on its own %d times, want %d", server.gets, c.reads)
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
