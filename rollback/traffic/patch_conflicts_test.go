package traffic_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/upcommerce/backout/rollback"
)

func TestConflicts(t *testing.T) {
	declared := map[string]string{canary: "true", weight: "20"}
	manifest := rollback.Manifest{declare("web-canary", declared)}

	t.Run("another client writes in between", func(t *testing.T) {
		router, server := newRouter(t, ingress("web-canary", declared))
		server.beforePatch = func(patch int) {
			if patch <= 3 {
				server.put(ingress("web-canary", map[string]string{canary: "true", weight: fmt.Sprint(50 + patch)}))
			}
		}
		weights, err := router.Shed(t.Context(), shop(), manifest, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if weights[0].From != "53" || server.annotations("shop/web-canary")[held] != "53" {
			t.Errorf("each attempt reads the object again: got %v, held %s", weights, server.annotations("shop/web-canary")[held])
		}
		if server.gets != 4 || server.patches != 4 {
			t.Errorf("a patch of a changed object is repeated: got %d reads, %d patches", server.gets, server.patches)
		}
	})

	t.Run("another client deletes it in between", func(t *testing.T) {
		router, server := newRouter(t, ingress("web-canary", declared))
		server.beforePatch = func(int) { delete(server.ingresses, "shop/web-canary") }
		if weights, err := router.Shed(t.Context(), shop(), manifest, nil, nil); err != nil || len(weights) != 0 {
			t.Errorf("an object that was deleted is left out: got %v, %v", weights, err)
		}
	})

	for name, code := range map[string]int{"lost races": http.StatusConflict, "failed tests": http.StatusUnprocessableEntity} {
		t.Run("always "+name, func(t *testing.T) {
			router, server := newRouter(t, ingress("web-canary", declared))
			server.refuse = code
			began := time.Now()
			_, err := router.Shed(t.Context(), shop(), manifest, nil, nil)
			if !apierrors.IsConflict(err) && !apierrors.IsInvalid(err) {
				t.Errorf("the last response is the error: got %v", err)
			}
			if server.patches != 10 {
				t.Errorf("a patch is tried 10 times: got %d", server.patches)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("giving up takes milliseconds: took %s", took)
			}
		})
	}

	t.Run("no time left", func(t *testing.T) {
		router, server := newRouter(t, ingress("web-canary", declared))
		server.refuse = http.StatusConflict
		ctx, cancel := context.WithCancel(t.Context())
		server.beforePatch = func(int) { cancel() }
		if _, err := router.Shed(ctx, shop(), manifest, nil, nil); err == nil || server.patches > 2 {
			t.Errorf("no patch is sent after the end of the context: got %v after %d patches", err, server.patches)
		}
	})
}
