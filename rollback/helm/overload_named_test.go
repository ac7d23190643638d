package helm_test

import (
	"errors"
	"net/http"
	"testing"

	"helm.sh/helm/v3/pkg/release"

	"github.com/upcommerce/backout/rollback"
)

// The API server takes neither the look ahead nor the new revision on, nor an object of it: Helm
// puts the errors of several objects into one text.
func TestAnOverloadIsNamed(t *testing.T) {
	for name, refused := range map[string]func(method, object string) bool{
		"of the new revision": func(method, object string) bool {
			return method == http.MethodPost && object == "secrets/"
		},
		"of its objects": func(method, _ string) bool { return method == http.MethodPatch },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			c.revision(t, 4, release.StatusSuperseded, withReplicas("v2", "2"))
			c.revision(t, 5, release.StatusDeployed, withReplicas("v3", "2"))
			c.live(t, withReplicas("v3", "2"))
			plan := c.plan(t, 4)
			refuse := func(refused func(method, object string) bool) {
				c.before = func(method, object string) int {
					if refused(method, object) {
						return http.StatusServiceUnavailable
					}
					return 0
				}
			}
			var overload *rollback.OverloadedError
			refuse(func(method, _ string) bool { return method == http.MethodPatch })
			if _, err := c.Preflight(t.Context(), plan); !errors.As(err, &overload) {
				t.Errorf("the look ahead: %v, want that the API server is overloaded", err)
			}
			overload = nil
			refuse(refused)
			if _, err := c.RollBack(t.Context(), plan); !errors.As(err, &overload) {
				t.Errorf("the rollback: %v, want that the API server is overloaded", err)
			}
		})
	}
}

// The restore needs the manifest of the new revision.
func TestAnOverloadIsNamedForAManifest(t *testing.T) {
	c := newCluster(t)
	c.before = func(string, string) int { return http.StatusServiceUnavailable }
	var overload *rollback.OverloadedError
	if _, err := c.Manifest(t.Context(), web(), 2); !errors.As(err, &overload) {
		t.Errorf("%v, want that the API server is overloaded", err)
	}
}
