package main

import (
	"errors"
	"net/http"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
)

type answers func(*http.Request) (*http.Response, error)

func (a answers) RoundTrip(q *http.Request) (*http.Response, error) { return a(q) }

// What the API server does not answer is counted too, and the caller's own configuration is left alone.
func TestRequestsToTheAPIServerAreCounted(t *testing.T) {
	requests := newAPIRequests(prometheus.NewRegistry())
	config := &rest.Config{Host: "http://127.0.0.1:1", Transport: answers(func(q *http.Request) (*http.Response, error) {
		if q.URL.Path == "/healthz" {
			return nil, errors.New("connection refused")
		}
		return &http.Response{StatusCode: http.StatusNotFound, Body: http.NoBody, Request: q}, nil
	})}
	client, err := kubernetes.NewForConfig(requests.counted(config))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/version", "/healthz"} {
		if err := client.RESTClient().Get().AbsPath(path).MaxRetries(0).Do(t.Context()).Error(); err == nil {
			t.Errorf("%s: the answer was an error, and is none", path)
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
