package main

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// scrape returns the lines of GET /metrics that begin with prefix.
func scrape(t *testing.T, shop *Shop, prefix string) []string {
	t.Helper()
	answer := call(t, shop, http.MethodGet, "/metrics")
	if answer.Code != http.StatusOK {
		t.Fatalf("GET /metrics answers %d, want 200", answer.Code)
	}
	return slices.DeleteFunc(strings.Split(answer.Body.String(), "\n"), func(line string) bool { return !strings.HasPrefix(line, prefix) })
}

func TestCountersStartAtZero(t *testing.T) {
	shop := newShop(t, map[string]string{"VERSION": "v2"})
	series := scrape(t, shop, "http_requests_total{")
	for _, want := range []string{
		`http_requests_total{code="200",method="get",version="v2"} 0`,
		`http_requests_total{code="500",method="get",version="v2"} 0`,
		`http_requests_total{code="503",method="get",version="v2"} 0`,
		`http_requests_total{code="404",method="unknown",version="v2"} 0`,
	} {
		if !slices.Contains(series, want) {
			t.Errorf("before the first request the metrics lack %s, have\n%s", want, strings.Join(series, "\n"))
		}
	}
	if count := scrape(t, shop, "http_request_duration_seconds_count"); !slices.Equal(count, []string{`http_request_duration_seconds_count{version="v2"} 0`}) {
		t.Errorf("before the first request the histogram is %q, want it present and empty", count)
	}
}

func TestRequestsAreCountedByVersionCodeAndMethod(t *testing.T) {
	shop := newShop(t, map[string]string{"VERSION": "v2"})
	for _, request := range [][2]string{{"GET", "/"}, {"GET", "/"}, {"HEAD", "/"}, {"POST", "/"}, {"GET", "/cart"}} {
		call(t, shop, request[0], request[1])
	}
	series := scrape(t, shop, "http_request")
	for _, want := range []string{
		`http_requests_total{code="200",method="get",version="v2"} 2`,
		`http_requests_total{code="200",method="head",version="v2"} 1`,
		`http_requests_total{code="405",method="post",version="v2"} 1`,
		`http_requests_total{code="404",method="get",version="v2"} 1`,
		`http_request_duration_seconds_count{version="v2"} 5`,
		`http_request_duration_seconds_bucket{version="v2",le="10"} 5`,
	} {
		if !slices.Contains(series, want) {
			t.Errorf("the metrics lack %s, have\n%s", want, strings.Join(series, "\n"))
		}
	}
}

func TestProbesAndScrapesAreNotTraffic(t *testing.T) {
	shop := newShop(t, nil)
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		call(t, shop, http.MethodGet, path)
	}
	if count := scrape(t, shop, "http_request_duration_seconds_count"); !slices.Equal(count, []string{`http_request_duration_seconds_count{version="v1"} 0`}) {
		t.Errorf("probes and scrapes count as traffic: %q", count)
	}
}

// Labels come from a closed set, so that no client can create series.
func TestNoRequestCreatesASeries(t *testing.T) {
	shop := newShop(t, nil)
	initial := testutil.CollectAndCount(shop.metrics.requests)
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "NOTIFY", "BREW", "get", "x-1", "x-2"} {
		for _, path := range []string{"/", "/a", "/b?c=d", "//", "/%2e%2e/"} {
			call(t, shop, method, path)
		}
	}
	if series := testutil.CollectAndCount(shop.metrics.requests); series != initial {
		t.Errorf("requests turned %[2]d series into %[1]d: every series has to exist from the start", series, initial)
	}
}

func TestProcessMetrics(t *testing.T) {
	shop := newShop(t, nil)
	for _, name := range []string{"process_cpu_seconds_total ", "process_resident_memory_bytes ", "go_goroutines "} {
		if len(scrape(t, shop, name)) != 1 {
			t.Errorf("the metrics lack %s", name)
		}
	}
}

func TestMetricNamesFollowThePrometheusConventions(t *testing.T) {
	shop := newShop(t, nil)
	problems, err := testutil.CollectAndLint(shop.metrics.requests)
	if err != nil || len(problems) > 0 {
		t.Errorf("promlint finds %v, %v", problems, err)
	}
}
