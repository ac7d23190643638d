package main

import (
	"fmt"
	"io"
	"net/http"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Shop is the storefront's HTTP face: the page for shoppers, and /metrics, /healthz and /readyz for the machines around it.
// It is safe for concurrent use.
type Shop struct {
	metrics  *metrics
	shoppers http.Handler // every path but those of the machines, counted and timed
	draining atomic.Bool
}

// NewShop renders the page for c, which must be valid, and registers the metrics in a registry of the shop's own.
func NewShop(c Config) (*Shop, error) {
	page, err := renderPage(c)
	if err != nil {
		return nil, fmt.Errorf("render page: %w", err)
	}
	m := newMetrics(prometheus.NewRegistry(), c.Version)
	return &Shop{metrics: m, shoppers: m.observe(storefront(page))}, nil
}

// Drain makes /readyz answer 503 from now on, and asks clients to close their connections. Pages are still served: routers
// need a moment to look away.
func (s *Shop) Drain() { s.draining.Store(true) }

// ServeHTTP answers one request. It is a switch and not a ServeMux because a mux answers unclean paths with redirects, which
// would be neither pages nor counted.
func (s *Shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	draining := s.draining.Load()
	if draining {
		w.Header().Set("Connection", "close")
	}
	switch r.URL.Path {
	case "/metrics":
		s.metrics.handler.ServeHTTP(w, r)
	case "/healthz":
		_, _ = io.WriteString(w, "ok\n") // an error means that the prober went away
	case "/readyz":
		if draining {
			http.Error(w, "draining", http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ready\n")
	default:
		s.shoppers.ServeHTTP(w, r)
	}
}

// storefront answers GET and HEAD of / with page, other methods with 405 and other paths with 404.
func storefront(page []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/":
			http.NotFound(w, r)
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "the storefront is read-only", http.StatusMethodNotAllowed)
		default:
			header := w.Header()
			header.Set("Content-Type", "text/html; charset=utf-8")
			header.Set("Cache-Control", "no-store") // a reload asks the router again, so that the split can be seen
			header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:")
			header.Set("X-Content-Type-Options", "nosniff")
			_, _ = w.Write(page) // an error means that the shopper went away
		}
	})
}
