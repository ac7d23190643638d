package serve

import (
	"errors"
	"net/http"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(q *http.Request) (*http.Response, error) { return f(q) }

// Requests without an answer are counted too, and the caller's own configuration is
// unchanged.
func TestRequestsToTheAPIServerAreCounted(t *testing.T) {
	requests := newAPIRequests(prometheus.NewRegistry())
	config := &rest.Config{Host: "http://127.0.0.1:1", Transport: transportFunc(func(q *http.Request) (*http.Response, error) {
		if q.URL.Path == "/healthz" {
			return nil, errors.New("connection refused")
		}
		return &http.Response{StatusCode: http.StatusNotFound, Body: http.NoBody, Request: q}, nil
	})}
	client, err := kubernetes.NewForConfig(requests.count(config))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/version", "/healthz"} {
		if err := client.RESTClient().Get().AbsPath(path).MaxRetries(0).Do(t.Context()).Error(); err == nil {
			t.Errorf("%s: the request failed, and the client returned no error", path)
		}
	}
	for code, want := range map[string]float64{"404": 1, "none": 1, "200": 0} {
		if got := testutil.ToFloat64(requests.requests.WithLabelValues("get", code)); got != want {
			t.Errorf("%g requests with the code %s were counted, want %g", got, code, want)
		}
	}
	if config.WrapTransport != nil {
		t.Error("the caller's configuration was changed")
	}
}
