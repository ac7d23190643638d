package traffic_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/upcommerce/backout/rollback"
)

func TestRestore(t *testing.T) {
	for _, c := range []struct {
		name           string
		live, declared map[string]string
		from, to       string
		want           map[string]string
	}{
		{
			"the declared weight comes back, and nothing is held any more",
			map[string]string{canary: "true", weight: "0", held: "20"},
			map[string]string{canary: "true", weight: "20"},
			"0", "20",
			map[string]string{canary: "true", weight: "20"},
		},
		{
			"the target's weight counts, not the one that was held",
			map[string]string{canary: "true", weight: "0", held: "50"},
			map[string]string{canary: "true", weight: "5"},
			"0", "5",
			map[string]string{canary: "true", weight: "5"},
		},
		{
			"a target without a weight has zero",
			map[string]string{canary: "true", weight: "0", held: "20"},
			map[string]string{canary: "true"},
			"0", "0",
			map[string]string{canary: "true", weight: "0"},
		},
		{
			"another client has restored the weight: only the held weight goes",
			map[string]string{canary: "true", weight: "20", held: "20"},
			map[string]string{canary: "true", weight: "20"},
			"20", "20",
			map[string]string{canary: "true", weight: "20"},
		},
		{
			"a weight that is right is not written",
			map[string]string{canary: "true", weight: "20"},
			map[string]string{canary: "true", weight: " 20"},
			"20", "20", nil,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			router, server := newRouter(t, ingress("web-canary", c.live))
			got, err := router.Restore(t.Context(), shop(), rollback.Manifest{declare("web-canary", c.declared)}, nil)
			if err != nil {
				t.Fatal(err)
			}
			want := []rollback.Weight{{Kind: "Ingress", Name: "web-canary", From: c.from, To: c.to}}
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

// A process that is killed after its shed leaves the weight to another one, which sheds again
// and restores.
func TestShedTwiceThenRestore(t *testing.T) {
	declared := map[string]string{canary: "true", weight: "20"}
	manifest := rollback.Manifest{declare("web-canary", declared)}
	router, server := newRouter(t, ingress("web-canary", declared))
	for range 2 {
		weights, err := router.Shed(t.Context(), shop(), manifest, nil, nil)
		if err != nil || len(weights) != 1 || weights[0].From != "20" {
			t.Errorf("each shed returns the weight before the first one: got %v, %v", weights, err)
		}
	}
	if got := server.annotations("shop/web-canary"); got[weight] != "0" || got[held] != "20" || server.patches != 1 {
		t.Errorf("the second shed writes nothing: got %v after %d patches", got, server.patches)
	}
	if _, err := router.Restore(t.Context(), shop(), manifest, nil); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(declared, server.annotations("shop/web-canary")); diff != "" {
		t.Errorf("after the restore the object is as declared (-want +got):\n%s", diff)
	}
}

// An API server that has too much to do is no reason to give a restore or a shed up.
func TestAnOverloadedAPIServerIsNamed(t *testing.T) {
	manifest := rollback.Manifest{declare("web-canary", map[string]string{canary: "true", weight: "20"})}
	for code, overloaded := range map[int]bool{
		http.StatusTooManyRequests: true, http.StatusServiceUnavailable: true, http.StatusForbidden: false, http.StatusUnprocessableEntity: false,
	} {
		router, server := newRouter(t, ingress("web-canary", map[string]string{canary: "true", weight: "20"}))
		shed := func() error { _, err := router.Shed(t.Context(), shop(), manifest, nil, nil); return err }
		observed := func() error {
			seen, err := router.Observe(t.Context(), shop(), manifest, rollback.Stored)
			if err != nil {
				return err
			}
			_, err = router.Shed(t.Context(), shop(), nil, seen.Observation, nil)
			return err
		}
		restore := func() error { _, err := router.Restore(t.Context(), shop(), manifest, nil); return err }
		server.refuse = code
		errs := []error{shed(), observed()}
		server.refuse = 0
		if err := shed(); err != nil {
			t.Fatal(err)
		}
		server.refuse = code
		for i, err := range append(errs, restore()) {
			var overload *rollback.OverloadedError
			if err == nil || errors.As(err, &overload) != overloaded {
				t.Errorf("%d, call %d: %v; want an overload: %t", code, i, err, overloaded)
			}
		}
	}
}
