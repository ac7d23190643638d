package handler

import (
	"strconv"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests *prometheus.CounterVec
	seconds  prometheus.Histogram
}

// statusCodes are the answers of the webhook listener.
func statusCodes() []int { return []int{200, 400, 401, 404, 405, 413, 500, 503} }

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "backout_webhook_requests_total",
			Help: "Requests at the webhook listener, by status code.",
		}, []string{"code"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "backout_webhook_duration_seconds",
			Help:    "Time to answer a request at the webhook listener.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}),
	}
	reg.MustRegister(m.requests, m.seconds)
	for _, code := range statusCodes() {
		m.requests.WithLabelValues(strconv.Itoa(code))
	}
	return m
}

// measure counts and times every answer.
func (m *metrics) measure(c *gin.Context) {
	began := time.Now()
	c.Next()
	m.requests.WithLabelValues(strconv.Itoa(c.Writer.Status())).Inc()
	m.seconds.Observe(time.Since(began).Seconds())
}
