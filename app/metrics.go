package main

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics counts and times what shoppers ask for. Probes and scrapes are not among it: they would dilute an error ratio.
type metrics struct {
	requests *prometheus.CounterVec // by code and method; the label version is constant in one process
	duration prometheus.ObserverVec // seconds
	handler  http.Handler           // answers GET /metrics
}

// newMetrics registers the storefront's metrics with reg, each with the constant label version, and creates every series the
// storefront can ever write: a counter that is born at 1 loses its first increment in rate().
func newMetrics(reg *prometheus.Registry, version string) *metrics {
	requests := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name:        "http_requests_total",
		Help:        "Requests answered by the storefront, by version, status code and method.",
		ConstLabels: prometheus.Labels{"version": version},
	}, []string{"code", "method"})
	duration := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:                            "http_request_duration_seconds",
		Help:                            "Seconds from a request's headers to the end of its answer, by version.",
		ConstLabels:                     prometheus.Labels{"version": version},
		Buckets:                         []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  160,
		NativeHistogramMinResetDuration: time.Hour,
	}, nil)
	reg.MustRegister(requests, duration, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	for method, codes := range answers() {
		for _, code := range codes {
			requests.WithLabelValues(code, method)
		}
	}
	duration.WithLabelValues()
	return &metrics{requests: requests, duration: duration, handler: promhttp.HandlerFor(reg, promhttp.HandlerOpts{Registry: reg})}
}

// observe counts and times each answer of next. Whatever delays or fails requests stands behind it.
func (m *metrics) observe(next http.Handler) http.Handler {
	return promhttp.InstrumentHandlerDuration(m.duration, promhttp.InstrumentHandlerCounter(m.requests, next))
}

// answers lists every status code the storefront answers each method with; methods are spelt as promhttp spells them, and
// unknown stands for all it does not know. Pages carry the server errors too, so that an error ratio is 0 and not absent
// before the first error.
func answers() map[string][]string {
	pages := []string{"200", "404", "405", "500", "503"} // 405: a method spelt "get" is none, and promhttp counts it as get
	refusals := []string{"404", "405"}
	return map[string][]string{
		"get": pages, "head": pages,
		"post": refusals, "put": refusals, "patch": refusals, "delete": refusals, "options": refusals,
		"connect": refusals, "trace": refusals, "notify": refusals, "unknown": refusals,
	}
}
