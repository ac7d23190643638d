package main

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// count requests the page that many times and returns the number of answers by status code.
func count(t *testing.T, shop *Shop, requests int) map[int]int {
	t.Helper()
	codes := map[int]int{}
	for range requests {
		codes[call(t, shop, http.MethodGet, "/").Code]++
	}
	return codes
}

func TestErrorShareIsExactAndCounted(t *testing.T) {
	for _, tt := range []struct {
		share  string
		failed int
	}{{"0", 0}, {"0.01", 1}, {"0.07", 7}, {"0.3", 30}, {"0.5", 50}, {"0.95", 95}, {"1", 100}} {
		shop := newShop(t, map[string]string{"VERSION": "v3", "FAULT_ERROR_SHARE": tt.share})
		want := map[int]int{http.StatusOK: 100 - tt.failed, http.StatusInternalServerError: tt.failed}
		maps.DeleteFunc(want, func(_, n int) bool { return n == 0 })
		if codes := count(t, shop, 100); !maps.Equal(codes, want) {
			t.Errorf("with an error share of %s, 100 pages are answered %v, want %v", tt.share, codes, want)
		}
	}
	shop := newShop(t, map[string]string{"VERSION": "v3", "FAULT_ERROR_SHARE": "0.5"})
	count(t, shop, 10)
	series := scrape(t, shop, "http_requests_total{")
	for _, want := range []string{`http_requests_total{code="500",method="get",version="v3"} 5`, `http_requests_total{code="200",method="get",version="v3"} 5`} {
		if !slices.Contains(series, want) {
			t.Errorf("the metrics lack %s, have\n%s", want, strings.Join(series, "\n"))
		}
	}
}

// Any few consecutive requests have to show the share.
func TestFailuresAreSpreadEvenly(t *testing.T) {
	for _, share := range []float64{.001, .05, 1. / 3, .5, .8, .999} {
		e := &effect{Faults: Faults{ErrorShare: share}}
		for _, window := range []uint64{2, 10, 99} {
			for first := range uint64(3000) {
				failed := 0.
				for n := first; n < first+window; n++ {
					if e.fails(n + million - 1500) { // across the end of a period of the sequence
						failed++
					}
				}
				if expected := share * float64(window); failed < expected-1 || failed > expected+1 {
					t.Fatalf("of %d pages from page %d on %.0f fail, want %.2f, give or take one", window, first, failed, expected)
				}
			}
		}
	}
}

func TestFaultsDoNotAffectProbesAndScrapes(t *testing.T) {
	shop := newShop(t, map[string]string{"FAULT_ERROR_SHARE": "1"})
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		if code := call(t, shop, http.MethodGet, path).Code; code != http.StatusOK {
			t.Errorf("with an error share of 1 the storefront answers %s with %d, want 200", path, code)
		}
	}
	if code := call(t, shop, http.MethodGet, "/cart").Code; code != http.StatusNotFound {
		t.Errorf("a request to an unknown path is answered %d, want 404", code)
	}
}

func TestNeverReadyIsAliveAndServes(t *testing.T) {
	shop := newShop(t, map[string]string{"FAULT_NEVER_READY": "true"})
	for path, want := range map[string]int{"/readyz": http.StatusServiceUnavailable, "/healthz": http.StatusOK, "/": http.StatusOK, "/metrics": http.StatusOK} {
		if code := call(t, shop, http.MethodGet, path).Code; code != want {
			t.Errorf("a storefront that is never ready answers %s with %d, want %d", path, code, want)
		}
	}
}

func TestLatencyIsMeasured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop := newShop(t, map[string]string{"FAULT_LATENCY": "200ms", "FAULT_ERROR_SHARE": "0.5"})
		for range 2 { // one of them fails
			start := time.Now()
			call(t, shop, http.MethodGet, "/")
			if took := time.Since(start); took != 200*time.Millisecond {
				t.Errorf("a page took %s, want 200ms", took)
			}
		}
		start := time.Now()
		for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
			call(t, shop, http.MethodGet, path)
		}
		if took := time.Since(start); took > 0 {
			t.Errorf("probes and scrapes took %s, want no added latency", took)
		}
		buckets := scrape(t, shop, "http_request_duration_seconds_bucket")
		for _, want := range []string{`http_request_duration_seconds_bucket{version="v1",le="0.1"} 0`, `http_request_duration_seconds_bucket{version="v1",le="0.25"} 2`} {
			if !slices.Contains(buckets, want) {
				t.Errorf("the metrics lack %s, have\n%s", want, strings.Join(buckets, "\n"))
			}
		}
	})
}

// A cold process: slow at first, and warm later. Its jitter stays.
func TestLatencyEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop := newShop(t, map[string]string{
			"FAULTS_ADMIN": "true", "FAULT_LATENCY": "400ms", "FAULT_LATENCY_FOR": "40s", "FAULT_LATENCY_JITTER": "10ms",
		})
		page := func() time.Duration {
			start := time.Now()
			call(t, shop, http.MethodGet, "/")
			return time.Since(start)
		}
		time.Sleep(39 * time.Second)
		if took := page(); took < 400*time.Millisecond {
			t.Errorf("a page in the first 40s took %s, want 400ms and its jitter", took)
		}
		time.Sleep(time.Second)
		if took := page(); took == 0 || took >= 10*time.Millisecond {
			t.Errorf("a page after 40s took %s, want its jitter alone", took)
		}
		put(t, shop, `{"latency": "400ms", "latencyFor": "10s"}`)
		if took := page(); took != 400*time.Millisecond {
			t.Errorf("a page right after the PUT took %s, want 400ms: the time counts from the PUT", took)
		}
		time.Sleep(10 * time.Second)
		if took := page(); took > 0 {
			t.Errorf("a page 10s after the PUT took %s, want no added latency", took)
		}
	})
}

func TestLatencyLastsWithoutAnEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop := newShop(t, map[string]string{"FAULT_LATENCY": "400ms"})
		time.Sleep(maxLatencyFor)
		start := time.Now()
		call(t, shop, http.MethodGet, "/")
		if took := time.Since(start); took != 400*time.Millisecond {
			t.Errorf("a page after %s took %s, want 400ms for good", maxLatencyFor, took)
		}
	})
}

func TestJitterSpreadsEvenly(t *testing.T) {
	e := &effect{Faults: Faults{Latency: Duration(time.Second), LatencyJitter: Duration(100 * time.Millisecond)}}
	var tenths [10]int
	for n := range uint64(100) {
		more := e.delay(n, 0) - time.Second
		if more < 0 || more >= 100*time.Millisecond {
			t.Fatalf("page %d takes %s more than the latency, want 0s to 100ms", n, more)
		}
		tenths[more/(10*time.Millisecond)]++
	}
	if least, most := slices.Min(tenths[:]), slices.Max(tenths[:]); least < 8 || most > 12 {
		t.Errorf("of 100 pages %v fall into each tenth of the jitter, want about 10", tenths)
	}
}

func TestCrashCutsConnectionsAndSkipsTheDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop := newShop(t, map[string]string{"FAULT_CRASH_AFTER": "30s", "FAULT_LATENCY": "5s"})
		listener := newPipes()
		ended := make(chan error, 1)
		start := time.Now()
		go func() { ended <- serve(t.Context(), listener, shop, 3*time.Second) }()
		time.Sleep(28 * time.Second)
		if code := get(t.Context(), listener.client(), "/"); code != 0 {
			t.Errorf("a request in flight when the storefront crashes is answered %d, want no answer", code)
		}
		if err := <-ended; !errors.Is(err, errCrash) {
			t.Errorf("the storefront ends with %v, want a crash", err)
		}
		if took := time.Since(start); took != 30*time.Second {
			t.Errorf("the crash came after %s, want 30s and no drain", took)
		}
		time.Sleep(5 * time.Second) // for the page, which outlives its connection
	})
}

func TestSilenceAnswersNoShopperAndNoScrape(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop := newShop(t, map[string]string{"FAULT_SILENT": "true"})
		listener := newPipes()
		client := listener.client()
		ctx, terminate := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- serve(ctx, listener, shop, 3*time.Second) }()

		for _, path := range []string{"/", "/cart", "/metrics"} {
			patience, cancel := context.WithTimeout(t.Context(), time.Minute)
			start := time.Now()
			if code := get(patience, client, path); code != 0 || time.Since(start) != time.Minute {
				t.Errorf("a silent storefront answers %s with %d after %s, want nothing for as long as the client waits", path, code, time.Since(start))
			}
			cancel()
		}
		for _, path := range []string{"/healthz", "/readyz"} {
			if code := get(t.Context(), client, path); code != http.StatusOK {
				t.Errorf("a silent storefront answers %s with %d, want 200", path, code)
			}
		}

		held := make(chan int, 1)
		go func() { held <- get(t.Context(), client, "/") }()
		synctest.Wait()
		start := time.Now()
		terminate()
		if err := <-ended; err != nil || time.Since(start) > 3*time.Second+time.Second {
			t.Errorf("the drain of a silent storefront ends with %v after %s, want nil after 3s", err, time.Since(start))
		}
		if code := <-held; code != 0 {
			t.Errorf("a request that silence held is answered %d, want no answer", code)
		}
	})
}

func TestSilenceCountsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop := newShop(t, map[string]string{"FAULT_SILENT": "true"})
		func() {
			defer func() {
				if err, _ := recover().(error); !errors.Is(err, http.ErrAbortHandler) {
					t.Errorf("a request that silence held ends with %v, want a cut connection", err)
				}
			}()
			time.AfterFunc(time.Second, func() { shop.faults.set(Faults{}) })
			call(t, shop, http.MethodGet, "/")
		}()
		if series := scrape(t, shop, "http_request_duration_seconds_count"); !slices.Equal(series, []string{`http_request_duration_seconds_count{version="v1"} 0`}) {
			t.Errorf("a request that was never answered is counted: %q", series)
		}
		if codes := count(t, shop, 1); codes[http.StatusOK] != 1 {
			t.Errorf("after the silence a page is answered %v, want 200", codes)
		}
	})
}
