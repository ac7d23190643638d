package main

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// put sends a set of faults to shop and returns its answer.
func put(t *testing.T, shop *Shop, body string) (code int, answer string) {
	t.Helper()
	return send(t, shop, http.MethodPut, strings.NewReader(body))
}

// send sends one request to /faults and returns its answer.
func send(t *testing.T, shop *Shop, method string, body io.Reader) (code int, answer string) {
	t.Helper()
	got := httptest.NewRecorder()
	shop.ServeHTTP(got, httptest.NewRequestWithContext(t.Context(), method, "/faults", body))
	return got.Code, strings.TrimSpace(got.Body.String())
}

func TestFaultsChangeWhileItRuns(t *testing.T) {
	shop := newShop(t, map[string]string{"FAULTS_ADMIN": "true", "FAULT_ERROR_SHARE": "1"})
	const want = `{"errorShare":0.5,"latency":"0s","latencyJitter":"0s","latencyFor":"0s","crashAfter":"0s","neverReady":true,"silent":false}`
	code, answer := put(t, shop, `{"errorShare": 0.5, "neverReady": true}`)
	if code != http.StatusOK || answer != want {
		t.Errorf("PUT /faults answers %d %s, want 200 %s", code, answer, want)
	}
	if code, answer := send(t, shop, http.MethodGet, nil); code != http.StatusOK || answer != want {
		t.Errorf("GET /faults answers %d %s, want 200 %s", code, answer, want)
	}
	for range 2 { // the same faults fail the same pages
		if codes := count(t, shop, 3); codes[http.StatusInternalServerError] != 1 {
			t.Errorf("with an error share of 0.5 the first 3 pages are answered %v, want one failure", codes)
		}
		put(t, shop, `{"errorShare": 0.5}`)
	}
	put(t, shop, `{}`)
	if codes := count(t, shop, 10); codes[http.StatusOK] != 10 {
		t.Errorf("a storefront without faults answers %v, want 200", codes)
	}
	if count := scrape(t, shop, "http_request_duration_seconds_count"); !slices.Equal(count, []string{`http_request_duration_seconds_count{version="v1"} 16`}) {
		t.Errorf("requests to /faults count as traffic: %q", count)
	}
}

func TestFaultsCannotChangeUnlessEnabled(t *testing.T) {
	for _, env := range []map[string]string{nil, {"FAULTS_ADMIN": "false"}, {"FAULT_ERROR_SHARE": "0.5"}} {
		shop := newShop(t, env)
		before := shop.faults.current.Load()
		for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodPost} {
			if code, _ := send(t, shop, method, strings.NewReader(`{"silent": true}`)); code != http.StatusNotFound {
				t.Errorf("with the environment %v %s /faults answers %d, want 404", env, method, code)
			}
		}
		if shop.faults.current.Load() != before {
			t.Errorf("with the environment %v a request changed the faults", env)
		}
	}
}

func TestBadFaultsAreRefusedWithAHintAndChangeNothing(t *testing.T) {
	shop := newShop(t, map[string]string{"FAULTS_ADMIN": "true", "FAULT_ERROR_SHARE": "0.25"})
	before := shop.faults.current.Load()
	for _, tt := range []struct {
		name, body string
		code       int
		want       []string
	}{
		{"nothing", ``, 400, []string{"use one JSON object"}},
		{"null", `null`, 400, []string{"use {} for none"}},
		{"a list", `[]`, 400, []string{"use one JSON object"}},
		{"a misspelt fault", `{"errorshares": 1}`, 400, []string{`"errorshares"`}},
		{"two objects", `{} {}`, 400, []string{"trailing data"}},
		{"a broken second object", `{} {`, 400, []string{"trailing data"}},
		{"a share in words", `{"errorShare": "half"}`, 400, []string{"errorShare"}},
		{"a duration without unit", `{"latency": "5"}`, 400, []string{`"5" is not a duration`, "as in 250ms"}},
		{"a duration as a number", `{"latency": 5}`, 400, []string{"latency"}},
		{"a switch in words", `{"silent": "yes"}`, 400, []string{"silent"}},
		{"all out of bounds", `{"errorShare": 2, "latency": "1h", "latencyJitter": "-1s", "latencyFor": "-1s", "crashAfter": "-1s"}`, 400, []string{"errorShare", "(latency)", "latencyJitter", "latencyFor", "crashAfter"}},
		{"too long", `{"errorShare": 0.5` + strings.Repeat(" ", maxFaultsBytes) + `}`, 413, []string{"too large"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			code, answer := put(t, shop, tt.body)
			if code != tt.code {
				t.Errorf("PUT /faults with %.40s answers %d, want %d", tt.body, code, tt.code)
			}
			for _, want := range tt.want {
				if !strings.Contains(answer, want) {
					t.Errorf("the answer does not say %q: %s", want, answer)
				}
			}
			if shop.faults.current.Load() != before {
				t.Errorf("a refused set of faults is in effect")
			}
		})
	}
	answer := call(t, shop, http.MethodPost, "/faults")
	if answer.Code != http.StatusMethodNotAllowed || answer.Header().Get("Allow") != "GET, HEAD, PUT" {
		t.Errorf("POST /faults answers %d and allows %q", answer.Code, answer.Header().Get("Allow"))
	}
}

// A silent storefront still accepts new faults.
func TestSilenceCanBeEnded(t *testing.T) {
	shop := newShop(t, map[string]string{"FAULTS_ADMIN": "true", "FAULT_SILENT": "true"})
	if code, _ := put(t, shop, `{}`); code != http.StatusOK {
		t.Errorf("a silent storefront answers PUT /faults with %d, want 200", code)
	}
	if codes := count(t, shop, 1); codes[http.StatusOK] != 1 {
		t.Errorf("after the silence a page is answered %v, want 200", codes)
	}
}

func TestSilenceThatBeginsInADrainDoesNotHoldIt(t *testing.T) {
	shop := newShop(t, nil)
	shop.Drain()
	shop.faults.set(Faults{Silent: true})
	defer func() {
		if err, _ := recover().(error); !errors.Is(err, http.ErrAbortHandler) {
			t.Errorf("a request ends with %v, want a cut connection", err)
		}
	}()
	call(t, shop, http.MethodGet, "/")
}

func TestCrashIsSetAndCancelledWhileItRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop := newShop(t, map[string]string{"FAULTS_ADMIN": "true", "FAULT_CRASH_AFTER": "10s"})
		ended := make(chan error, 1)
		go func() { ended <- serve(t.Context(), newPipes(), shop, 0) }()
		time.Sleep(9 * time.Second)
		put(t, shop, `{}`)
		time.Sleep(time.Hour)
		start := time.Now()
		put(t, shop, `{"crashAfter": "5s"}`)
		if err := <-ended; !errors.Is(err, errCrash) || time.Since(start) != 5*time.Second {
			t.Errorf("the storefront ends with %v %s after the PUT, want a crash after 5s, and no crash that was cancelled", err, time.Since(start))
		}
	})
}

// For the race detector: faults change while shoppers send requests.
func TestFaultsChangeUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop := newShop(t, map[string]string{"FAULTS_ADMIN": "true"})
		for range 4 {
			go count(t, shop, 200)
			go func() {
				for range 50 {
					put(t, shop, `{"errorShare": 0.5, "latency": "1ms", "latencyJitter": "1ms", "crashAfter": "1h"}`)
				}
				put(t, shop, `{}`)
			}()
		}
		synctest.Wait()
		time.Sleep(time.Minute)
		if count := scrape(t, shop, "http_request_duration_seconds_count"); !slices.Equal(count, []string{`http_request_duration_seconds_count{version="v1"} 800`}) {
			t.Errorf("%q, want all 800 requests answered and counted", count)
		}
	})
}
