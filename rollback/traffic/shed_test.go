package traffic_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/upcommerce/backout/rollback"
)

func TestShed(t *testing.T) {
	for _, c := range []struct {
		name string
		live map[string]string
		from string
		want map[string]string
	}{
		{
			"a weight goes to zero, and is noted on the object as held",
			map[string]string{canary: "true", weight: "20"},
			"20",
			map[string]string{canary: "true", weight: "0", held: "20"},
		},
		{
			"spaces around a weight are ignored",
			map[string]string{canary: "true", weight: " 20 "},
			"20",
			map[string]string{canary: "true", weight: "0", held: "20"},
		},
		{
			"other annotations stay",
			map[string]string{canary: "true", weight: "5", "a/b~c": "d"},
			"5",
			map[string]string{canary: "true", weight: "0", held: "5", "a/b~c": "d"},
		},
		{
			"an Ingress is a canary for any text that ingress-nginx parses as true",
			map[string]string{canary: "True", weight: "20"},
			"20",
			map[string]string{canary: "True", weight: "0", held: "20"},
		},
		{
			"an absent weight is zero, and is marked",
			map[string]string{canary: "true"},
			"0",
			map[string]string{canary: "true", held: "0"},
		},
		{
			"a zero is marked",
			map[string]string{canary: "true", weight: "0"},
			"0",
			map[string]string{canary: "true", weight: "0", held: "0"},
		},
		{
			"a zero that is marked is not written again",
			map[string]string{canary: "true", weight: "0", held: "0"},
			"0", nil,
		},
		{
			"a second shed keeps the weight that the first one found",
			map[string]string{canary: "true", weight: "0", held: "20"},
			"20", nil,
		},
		{
			"a weight that another client restored goes to zero again",
			map[string]string{canary: "true", weight: "50", held: "20"},
			"50",
			map[string]string{canary: "true", weight: "0", held: "50"},
		},
		{
			"a text that is not a number goes to zero too",
			map[string]string{canary: "true", weight: "half"},
			"half",
			map[string]string{canary: "true", weight: "0", held: "half"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			router, server := newRouter(t, ingress("web-canary", c.live))
			// The live weight counts, not that of the manifest.
			got, err := router.Shed(t.Context(), shop(), rollback.Manifest{declare("web-canary", map[string]string{canary: "true", weight: "99"})}, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			want := []rollback.Weight{{Kind: "Ingress", Name: "web-canary", From: c.from, To: "0"}}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the weights before and after (-want +got):\n%s", diff)
			}
			writes := 1
			if c.want == nil {
				c.want, writes = c.live, 0
			}
			if diff := cmp.Diff(c.want, server.annotations("shop/web-canary")); diff != "" {
				t.Errorf("the live annotations (-want +got):\n%s", diff)
			}
			if server.patches != writes {
				t.Errorf("only a change is written: got %d patches, want %d", server.patches, writes)
			}
		})
	}
}

func TestOnlyCanaryRoutesAreTouched(t *testing.T) {
	stable := map[string]string{weight: "100"}
	off := map[string]string{canary: "false", weight: "100"}
	router, server := newRouter(t, ingress("web", stable), ingress("web-off", off), ingress("web-bare", nil),
		ingress("other-canary", map[string]string{canary: "true", weight: "30"}))
	foreign, service := declare("other-canary", map[string]string{canary: "true"}), declare("other-canary", map[string]string{canary: "true"})
	foreign["apiVersion"] = "example.com/v1"
	service["apiVersion"], service["kind"] = "v1", "Service"
	manifest := rollback.Manifest{declare("web", stable), declare("web-off", off), declare("web-bare", nil), foreign, service, {}}
	for name, call := range map[string]func() ([]rollback.Weight, error){
		"Shed":    func() ([]rollback.Weight, error) { return router.Shed(t.Context(), shop(), manifest, nil, nil) },
		"Restore": func() ([]rollback.Weight, error) { return router.Restore(t.Context(), shop(), manifest, nil) },
	} {
		weights, err := call()
		if err != nil || len(weights) != 0 {
			t.Errorf("%s: a manifest without a canary route yields nothing and is no error: got %v, %v", name, weights, err)
		}
	}
	if server.gets+server.patches != 0 {
		t.Errorf("an object that the manifest does not declare a canary route is not even read: got %d requests", server.gets+server.patches)
	}
}

// Between the deployment of the revision and the alert, another client made the canary
// Ingress the route of all users.
func TestLiveRouteIsNotACanary(t *testing.T) {
	live := map[string]string{canary: "false", weight: "20"}
	router, server := newRouter(t, ingress("web-canary", live))
	manifest := rollback.Manifest{declare("web-canary", map[string]string{canary: "true", weight: "50"})}
	if weights, err := router.Shed(t.Context(), shop(), manifest, nil, nil); err != nil || len(weights) != 0 {
		t.Errorf("a live Ingress that is not a canary is left alone: got %v, %v", weights, err)
	}
	if weights, err := router.Restore(t.Context(), shop(), manifest, nil); err != nil || len(weights) != 0 {
		t.Errorf("a live Ingress that is not a canary is left alone: got %v, %v", weights, err)
	}
	if server.patches != 0 {
		t.Errorf("a live Ingress that is not a canary is not written: got %v", server.annotations("shop/web-canary"))
	}
}

func TestRouteInAnotherNamespaceIsRefused(t *testing.T) {
	annotations := map[string]string{canary: "true", weight: "20"}
	foreign := ingress("other", annotations)
	foreign.Namespace = "payments"
	router, server := newRouter(t, ingress("web-canary", annotations), foreign, ingress("other", annotations))
	manifest := rollback.Manifest{in("payments", declare("other", annotations)), in("shop", declare("web-canary", annotations))}

	weights, err := router.Shed(t.Context(), shop(), manifest, nil, nil)
	if err == nil || !strings.Contains(err.Error(), "payments/other is outside the release's namespace shop: set its weight manually") {
		t.Errorf("a route in another namespace is named in the error: got %v", err)
	}
	if len(weights) != 1 || server.annotations("shop/web-canary")[weight] != "0" {
		t.Errorf("the other routes are shed all the same: got %v", weights)
	}
	for _, key := range []string{"payments/other", "shop/other"} {
		if got := server.annotations(key)[weight]; got != "20" {
			t.Errorf("%s is not touched: its weight is %s", key, got)
		}
	}
}

func TestShedGoesOnAfterAnError(t *testing.T) {
	annotations := map[string]string{canary: "true", weight: "20"}
	manifest := rollback.Manifest{declare("gone", annotations), declare("web-canary", annotations)}
	router, server := newRouter(t, ingress("web-canary", annotations))
	weights, err := router.Shed(t.Context(), shop(), manifest, nil, nil)
	if err != nil || len(weights) != 1 || weights[0].Name != "web-canary" {
		t.Errorf("an object that is gone is left out: got %v, %v", weights, err)
	}

	server.refuse = http.StatusForbidden
	server.put(ingress("web-canary", annotations))
	before := server.patches
	_, err = router.Shed(t.Context(), shop(), manifest, nil, nil)
	if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), "Ingress shop/web-canary") {
		t.Errorf("a forbidden write is an error that names the object: got %v", err)
	}
	if n := server.patches - before; n != 1 {
		t.Errorf("a forbidden write is not repeated: got %d patches", n)
	}
}

// An upgrade may happen between the read and the write of the route: the precondition is
// checked in between.
func TestShedChecksThePreconditionBetweenReadAndWrite(t *testing.T) {
	live := map[string]string{canary: "true", weight: "20"}
	router, server := newRouter(t, ingress("web-canary", live))
	reads := 0
	_, err := router.Shed(t.Context(), shop(), rollback.Manifest{declare("web-canary", live)}, nil, func(context.Context) error {
		reads = server.gets
		return rollback.ErrRevisionChanged
	})
	if !errors.Is(err, rollback.ErrRevisionChanged) || server.patches != 0 || reads == 0 {
		t.Errorf("checked after %d reads, %d patches, %v; want the check after the read, its error, and no patch", reads, server.patches, err)
	}
}

// Shed begins with the routes as they were observed, and reads only those again that have
// changed.
func TestShedDoesNotReadObservedRoutesAgain(t *testing.T) {
	live := map[string]string{canary: "true", weight: "20"}
	manifest := rollback.Manifest{declare("web-canary", live)}
	for name, c := range map[string]struct {
		between     func(server *apiServer)
		reads       int
		from, after string
	}{
		"nothing happens": {func(*apiServer) {}, 1, "20", "0"},
		"another client changes the weight": {func(s *apiServer) {
			s.put(ingress("web-canary", map[string]string{canary: "true", weight: "50"}))
		}, 2, "50", "0"},
	} {
		t.Run(name, func(t *testing.T) {
			router, server := newRouter(t, ingress("web-canary", live))
			observed, _ := router.Observe(t.Context(), shop(), manifest, rollback.Stored) // The server has no endpoints.
			c.between(server)
			changed, err := router.Shed(t.Context(), shop(), nil, observed.Observation, nil)
			if err != nil || len(changed) != 1 || changed[0].From != c.from || server.annotations("shop/web-canary")[weight] != c.after {
				t.Errorf("got %v, %v; the weight is %s, want %s", changed, err, server.annotations("shop/web-canary")[weight], c.after)
			}
			if server.gets != c.reads {
				t.Errorf("the route was read %d times, want %d", server.gets, c.reads)
			}
		})
	}

	router, server := newRouter(t, ingress("web-canary", live))
	observed, _ := router.Observe(t.Context(), shop(), manifest, rollback.Stored)
	if _, err := router.Shed(t.Context(), shop(), nil, observed.Observation, func(context.Context) error { return rollback.ErrRevisionChanged }); !errors.Is(err, rollback.ErrRevisionChanged) || server.patches != 0 {
		t.Errorf("got %v, %d patches; want the precondition's error, and no patch", err, server.patches)
	}
}

// foreignObservation is an observation of another implementation.
type foreignObservation struct{}

func (foreignObservation) Release() rollback.Key { return shop() }

// Routes that were not read for the release must not count as an absence of routes. Without
// an observation, Shed finds the routes by the manifest.
func TestShedRefusesAnotherObservation(t *testing.T) {
	live := map[string]string{canary: "true", weight: "20"}
	manifest := rollback.Manifest{declare("web-canary", live)}
	router, server := newRouter(t, ingress("web-canary", live))
	other := rollback.Key{Namespace: "shop", Release: "other"}
	observed, _ := router.Observe(t.Context(), other, manifest, rollback.Stored)
	if observed.Observation == nil || observed.Observation.Release() != other {
		t.Fatalf("Observe returns the observation of its release: got %v", observed.Observation)
	}
	requests := server.gets
	for name, observation := range map[string]rollback.Observation{
		"of another release":        observed.Observation,
		"of another implementation": foreignObservation{},
	} {
		if changed, err := router.Shed(t.Context(), shop(), manifest, observation, nil); err == nil || len(changed) > 0 || server.gets+server.patches != requests {
			t.Errorf("an observation %s is an error, and nothing is read or written: got %v, %v, %d requests", name, changed, err, server.gets+server.patches-requests)
		}
	}
	if changed, err := router.Shed(t.Context(), shop(), manifest, nil, nil); err != nil || len(changed) != 1 || server.annotations("shop/web-canary")[weight] != "0" {
		t.Errorf("without an observation the routes are found by the manifest: got %v, %v", changed, err)
	}
}
