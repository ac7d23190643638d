package main

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics counts and times shoppers' requests. It leaves out probes and scrapes, which would dilute an error ratio.
type metrics struct {
	requests *prometheus.CounterVec // by code and method; the label version is constant in one process
	duration prometheus.ObserverVec // seconds
	handler  http.Handler           // answers GET /metrics
}

// newMetrics registers the storefront's metrics with reg, each with the constant label version, and creates every series that the
// storefront can write: a counter that first appears at 1 loses its first increment in rate().
func newMetrics(reg *prometheus.Registry, version string) *metrics {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name:        "http_requests_total",
		Help:        "Requests answered by the storefront, by version, status code and method.",
		ConstLabels: prometheus.Labels{"version": version},
	}, []string{"code", "method"})
	duration := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:                            "http_request_duration_seconds",
		Help:                            "Seconds from a request's headers to the end of its response, by version.",
		ConstLabels:                     prometheus.Labels{"version": version},
		Buckets:                         []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  160,
		NativeHistogramMinResetDuration: time.Hour,
	}, nil)
	reg.MustRegister(requests, duration, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	for method, codes := range statusCodes() {
		for _, code := range codes {
			requests.WithLabelValues(code, method)
		}
	}
	duration.WithLabelValues()
	return &metrics{requests: requests, duration: duration, handler: promhttp.HandlerFor(reg, promhttp.HandlerOpts{Registry: reg})}
}

// observe counts and times each response of next. Handlers that delay or fail requests have to be inside next.
func (m *metrics) observe(next http.Handler) http.Handler {
	return promhttp.InstrumentHandlerDuration(m.duration, promhttp.InstrumentHandlerCounter(m.requests, next))
}

// statusCodes lists every status code of the storefront's responses by method, with promhttp's spelling of methods; unknown is all
// that promhttp does not know. Pages include the server errors, so that an error ratio is 0 and not absent before the first error.
func statusCodes() map[string][]string {
	pages := []string{"200", "404", "405", "500", "503"} // 405: the method "get" in lower case is invalid, and promhttp counts it as get
	refusals := []string{"404", "405"}
	return map[string][]string{
		"get": pages, "head": pages,
		"post": refusals, "put": refusals, "patch": refusals, "delete": refusals, "options": refusals,
		"connect": refusals, "trace": refusals, "notify": refusals, "unknown": refusals,
	}
}
