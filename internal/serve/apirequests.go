package serve

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/rest"
)

// noAnswer is the code of a request that the API server did not answer.
const noAnswer = "none"

// apiRequests counts this process's requests to the API server.
type apiRequests struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
}

func newAPIRequests(reg prometheus.Registerer) *apiRequests {
	a := &apiRequests{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "backout_api_requests_total",
			Help: "Requests to the Kubernetes API server, by method and status code; none for those without an answer.",
		}, []string{"method", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "backout_api_request_duration_seconds",
			Help:    "Time until the Kubernetes API server began to answer, by method.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
		}, []string{"method"}),
	}
	reg.MustRegister(a.requests, a.seconds)
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete} {
		method = strings.ToLower(method)
		a.seconds.WithLabelValues(method)
		for _, code := range []string{"200", "403", "404", "409", "429", "500", noAnswer} {
			a.requests.WithLabelValues(method, code)
		}
	}
	return a
}

// count returns a copy of the configuration whose clients' requests are counted.
func (a *apiRequests) count(config *rest.Config) *rest.Config {
	config = rest.CopyConfig(config)
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return countingTransport{a, next} })
	return config
}

type countingTransport struct {
	*apiRequests
	next http.RoundTripper
}

// RoundTrip passes the request on and counts its answer.
func (t countingTransport) RoundTrip(q *http.Request) (*http.Response, error) {
	began, method := time.Now(), strings.ToLower(q.Method)
	answer, err := t.next.RoundTrip(q)
	t.seconds.WithLabelValues(method).Observe(time.Since(began).Seconds())
	code := noAnswer
	if err == nil {
		code = strconv.Itoa(answer.StatusCode)
	}
	t.requests.WithLabelValues(method, code).Inc()
	return answer, err
}
