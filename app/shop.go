package main

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Shop is the storefront's HTTP handler: the page for shoppers, and /metrics, /healthz and /readyz for the cluster. It is safe
// for concurrent use.
type Shop struct {
	metrics  *metrics
	faults   *faultSwitch
	admin    bool         // whether /faults exists
	shoppers http.Handler // every path except the cluster's, counted and timed
	exports  http.Handler // GET /metrics
	draining atomic.Bool
}

// NewShop renders the page for c, which must be valid, registers the metrics in its own registry, and puts the faults of c into
// effect. It logs only changes at /faults.
func NewShop(log *slog.Logger, c Config) (*Shop, error) {
	page, err := renderPage(c)
	if err != nil {
		return nil, fmt.Errorf("render page: %w", err)
	}
	m := newMetrics(prometheus.NewRegistry(), c.Version)
	faults := newFaultSwitch(log, c.Faults)
	return &Shop{
		metrics:  m,
		faults:   faults,
		admin:    c.FaultsAdmin,
		shoppers: faults.silence(m.observe(storefront(faults.pages(show(page))))),
		exports:  faults.silence(m.handler),
	}, nil
}

// Drain makes /readyz answer 503 from now on, and makes clients close their connections. The shop still serves pages, because
// routers need a moment to stop sending traffic.
func (s *Shop) Drain() {
	s.draining.Store(true)
	s.faults.drain()
}

// Crashes returns a channel that receives an element when a fault requires the process to end as if it had crashed.
func (s *Shop) Crashes() <-chan struct{} { return s.faults.crashes }

// ServeHTTP answers one request. It is a switch and not a ServeMux, because a mux answers unclean paths with redirects, which
// would be neither pages nor counted.
func (s *Shop) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	draining := s.draining.Load()
	if draining {
		w.Header().Set("Connection", "close")
	}
	switch path := r.URL.Path; {
	case path == "/metrics":
		s.exports.ServeHTTP(w, r)
	case path == "/healthz":
		_, _ = io.WriteString(w, "ok\n") // an error means that the prober disconnected
	case path == "/readyz":
		switch {
		case draining:
			http.Error(w, "draining", http.StatusServiceUnavailable)
		case s.faults.current.Load().NeverReady:
			http.Error(w, "not ready", http.StatusServiceUnavailable)
		default:
			_, _ = io.WriteString(w, "ready\n")
		}
	case path == "/faults" && s.admin:
		s.faults.ServeHTTP(w, r)
	default:
		s.shoppers.ServeHTTP(w, r)
	}
}

// storefront answers GET and HEAD of / with page, other methods with 405 and other paths with 404.
func storefront(page http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/":
			http.NotFound(w, r)
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "the storefront is read-only", http.StatusMethodNotAllowed)
		default:
			page.ServeHTTP(w, r)
		}
	})
}

// show answers every request with page.
func show(page []byte) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		header := w.Header()
		header.Set("Content-Type", "text/html; charset=utf-8")
		header.Set("Cache-Control", "no-store") // a reload goes through the router again and shows the split
		header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:")
		header.Set("X-Content-Type-Options", "nosniff")
		_, _ = w.Write(page) // an error means that the shopper disconnected
	})
}
