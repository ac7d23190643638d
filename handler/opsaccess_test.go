package handler_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/upcommerce/backout/handler"
)

func TestReadersOfTheOpsListenerNeedARight(t *testing.T) {
	var asked []string
	s, _ := newServer(t, func(o *handler.Options) {
		o.Config.OpsAuth = handler.OpsAuthKubernetes
		o.OpsAccess = func(_ context.Context, token, path string) error {
			asked = append(asked, path)
			switch token {
			case "prometheus":
				if path != "/metrics" {
					return fmt.Errorf("%w: prometheus may not get %s", handler.ErrForbidden, path)
				}
				return nil
			case "admin":
				return nil
			case "lost":
				return errors.New("connection refused")
			}
			return handler.ErrUnauthenticated
		}
	})
	for _, c := range []struct {
		path, authorization string
		want                int
	}{
		{"/healthz", "", http.StatusOK},
		{"/readyz", "", http.StatusOK},
		{"/metrics", "", http.StatusUnauthorized},
		{"/metrics", "Basic cHJvbWV0aGV1cw==", http.StatusUnauthorized},
		{"/metrics", "Bearer ", http.StatusUnauthorized},
		{"/metrics", "Bearer guess", http.StatusUnauthorized},
		{"/metrics", "Bearer prometheus", http.StatusOK},
		{"/metrics", "bearer prometheus", http.StatusOK},
		{"/metrics", "Bearer lost", http.StatusServiceUnavailable},
		{"/", "Bearer prometheus", http.StatusForbidden},
		{"/", "Bearer admin", http.StatusOK},
		{"/api/v1/records", "Bearer prometheus", http.StatusForbidden},
		{"/api/v1/records/shop/web/7", "", http.StatusUnauthorized},
		{"/api/v1/records", "Bearer admin", http.StatusOK},
		{"/no/such/page", "", http.StatusUnauthorized},
	} {
		q := httptest.NewRequest(http.MethodGet, c.path, nil)
		if c.authorization != "" {
			q.Header.Set("Authorization", c.authorization)
		}
		w := httptest.NewRecorder()
		s.OpsHandler().ServeHTTP(w, q)
		if w.Code != c.want {
			t.Errorf("%s with %q: got %d %s, want %d", c.path, c.authorization, w.Code, w.Body, c.want)
		}
		if w.Code == http.StatusUnauthorized && w.Header().Get("WWW-Authenticate") == "" {
			t.Errorf("%s with %q: 401 without WWW-Authenticate", c.path, c.authorization)
		}
	}
	for _, path := range asked {
		if path != "/metrics" && path != "/backout/" && !strings.HasPrefix(path, "/backout/api/v1/records") {
			t.Errorf("the API server was asked about %s", path)
		}
	}
}
