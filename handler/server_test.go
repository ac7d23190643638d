package handler_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/upcommerce/backout/handler"
	"github.com/upcommerce/backout/rollback"
)

// inbox is a Receiver that keeps what it is handed.
type inbox struct {
	mu    sync.Mutex
	calls [][]rollback.Alert
	// accept is called with each batch, if not nil; its error is Accept's.
	accept func(ctx context.Context) error
}

func (i *inbox) Accept(ctx context.Context, alerts []rollback.Alert) error {
	i.mu.Lock()
	i.calls = append(i.calls, alerts)
	i.mu.Unlock()
	if i.accept != nil {
		return i.accept(ctx)
	}
	return nil
}

// batches returns what was handed over so far.
func (i *inbox) batches() [][]rollback.Alert {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.calls
}

// shelf is a Reader of fixed records.
type shelf struct {
	records []rollback.Record
	err     error
}

func (s shelf) All(context.Context) ([]rollback.Record, error) { return s.records, s.err }

func (s shelf) Records(_ context.Context, k rollback.Key) ([]rollback.Record, error) {
	var found []rollback.Record
	for _, r := range s.records {
		if r.Key == k {
			found = append(found, r)
		}
	}
	return found, s.err
}

func (s shelf) Record(_ context.Context, k rollback.Key, revision int) (rollback.Record, bool, error) {
	for _, r := range s.records {
		if r.Key == k && r.Revision == revision {
			return r, true, s.err
		}
	}
	return rollback.Record{}, false, s.err
}

func openConfig() handler.Config {
	return handler.Config{
		Listen: "127.0.0.1:0", OpsListen: "127.0.0.1:0", Auth: handler.AuthNone,
		MaxBody: 1 << 20, ReadTimeout: 5 * time.Second, StoreTimeout: 8 * time.Second,
	}
}

// newServer returns a server that takes alerts from everybody, but for what
// change says, and where the alerts go.
func newServer(t *testing.T, change func(*handler.Options)) (*handler.Server, *inbox) {
	t.Helper()
	in := &inbox{}
	o := handler.Options{
		Config: openConfig(), Receiver: in, Reader: shelf{}, Registry: prometheus.NewRegistry(),
		Ready: func(context.Context) error { return nil }, Log: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&o)
	}
	s, err := handler.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s, in
}

// post sends body to the webhook and returns the answer.
func post(h http.Handler, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/api/v1/alerts", strings.NewReader(body))
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// problemOf decodes the body of an answer that is not 2xx.
func problemOf(t *testing.T, w *httptest.ResponseRecorder) (problem, hint string) {
	t.Helper()
	var p struct{ Error, Hint string }
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil {
		t.Errorf("an answer that is no success is JSON: %v in %q", err, w.Body)
	}
	return p.Error, p.Hint
}

// serve has s listen on loopback until the test ends and returns both addresses.
func serve(t *testing.T, s *handler.Server) (webhook, ops string) {
	t.Helper()
	listeners := make([]net.Listener, 2)
	for i := range listeners {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		listeners[i] = l
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(listeners[0], listeners[1]) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 5*time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve returns no error after a shutdown: got %v", err)
		}
	})
	return listeners[0].Addr().String(), listeners[1].Addr().String()
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// replace swaps the file for another one, atomically.
func replace(t *testing.T, path, text string) {
	t.Helper()
	next := filepath.Join(filepath.Dir(path), "..next")
	write(t, next, text)
	if err := os.Rename(next, path); err != nil {
		t.Fatal(err)
	}
}

func TestStoreFailure(t *testing.T) {
	s, in := newServer(t, nil)
	in.accept = func(context.Context) error { return errors.New("etcd is away: secret detail") }
	w := post(s.Handler(), payload())
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("what could not be stored is answered 503, so that Alertmanager repeats it: got %d", w.Code)
	}
	if _, hint := problemOf(t, w); hint == "" || strings.Contains(w.Body.String(), "secret detail") {
		t.Errorf("the answer says what to do and leaves the cause to the log: got %s", w.Body)
	}
}

func TestStoreTimeout(t *testing.T) {
	s, in := newServer(t, func(o *handler.Options) { o.Config.StoreTimeout = 10 * time.Millisecond })
	in.accept = func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(5 * time.Second):
			return nil
		}
	}
	if w := post(s.Handler(), payload()); w.Code != http.StatusServiceUnavailable {
		t.Errorf("storing ends with BACKOUT_STORE_TIMEOUT, and is answered 503: got %d", w.Code)
	}
}

func TestPanic(t *testing.T) {
	registry := prometheus.NewRegistry()
	s, in := newServer(t, func(o *handler.Options) { o.Registry = registry })
	in.accept = func(context.Context) error { panic("a defect") }
	if w := post(s.Handler(), payload()); w.Code != http.StatusInternalServerError {
		t.Errorf("a panic is answered 500, so that Alertmanager repeats it: got %d", w.Code)
	}
	in.accept = nil
	if w := post(s.Handler(), payload()); w.Code != http.StatusOK {
		t.Errorf("a panic ends one request, not the process: got %d", w.Code)
	}
	for code, want := range map[string]float64{"200": 1, "500": 1, "503": 0} {
		if got := requests(t, registry, code); got != want {
			t.Errorf("every answer is counted, panics too: backout_webhook_requests_total{code=%q} is %v, want %v", code, got, want)
		}
	}
}

// requests returns backout_webhook_requests_total of one code.
func requests(t *testing.T, registry *prometheus.Registry, code string) float64 {
	t.Helper()
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "backout_webhook_requests_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == code {
				return m.GetCounter().GetValue()
			}
		}
	}
	t.Errorf("backout_webhook_requests_total{code=%q} is there from the start", code)
	return 0
}

// TestRoutes pins what each listener offers, and that neither offers the other's.
func TestRoutes(t *testing.T) {
	s, in := newServer(t, nil)
	for _, c := range []struct {
		what         string
		handler      http.Handler
		method, path string
		want         int
	}{
		{"reading at the webhook", s.Handler(), http.MethodGet, "/api/v1/alerts", http.StatusMethodNotAllowed},
		{"replacing at the webhook", s.Handler(), http.MethodPut, "/api/v1/alerts", http.StatusMethodNotAllowed},
		{"deleting at the webhook", s.Handler(), http.MethodDelete, "/api/v1/alerts", http.StatusMethodNotAllowed},
		{"unknown path", s.Handler(), http.MethodPost, "/", http.StatusNotFound},
		{"older API", s.Handler(), http.MethodPost, "/api/v0/alerts", http.StatusNotFound},
		{"records at the webhook", s.Handler(), http.MethodGet, "/api/v1/records", http.StatusNotFound},
		{"metrics at the webhook", s.Handler(), http.MethodGet, "/metrics", http.StatusNotFound},
		{"profiles at the webhook", s.Handler(), http.MethodGet, "/debug/pprof/", http.StatusNotFound},
		{"alerts at ops", s.OpsHandler(), http.MethodPost, "/api/v1/alerts", http.StatusNotFound},
		{"posting records", s.OpsHandler(), http.MethodPost, "/api/v1/records", http.StatusMethodNotAllowed},
		{"deleting a record", s.OpsHandler(), http.MethodDelete, "/api/v1/records/shop/web/3", http.StatusMethodNotAllowed},
		{"replacing a record", s.OpsHandler(), http.MethodPut, "/api/v1/records/shop/web/3", http.StatusMethodNotAllowed},
		{"posting metrics", s.OpsHandler(), http.MethodPost, "/metrics", http.StatusMethodNotAllowed},
	} {
		w := httptest.NewRecorder()
		c.handler.ServeHTTP(w, httptest.NewRequest(c.method, c.path, strings.NewReader(payload())))
		if w.Code != c.want {
			t.Errorf("%s: %s %s is answered %d, got %d", c.what, c.method, c.path, c.want, w.Code)
		}
	}
	if n := len(in.batches()); n != 0 {
		t.Errorf("nothing but a POST of alerts hands anything over: got %d batches", n)
	}
}

// TestSlowBody pins that a sender which is slow holds nothing for long, and that
// what was not read to its end is to be repeated: it may have been right.
func TestSlowBody(t *testing.T) {
	s, in := newServer(t, func(o *handler.Options) { o.Config.ReadTimeout = 100 * time.Millisecond })
	webhook, _ := serve(t, s)
	for what, head := range map[string]string{
		"body":    "POST /api/v1/alerts HTTP/1.1\r\nHost: b\r\nContent-Length: 1000\r\n\r\n" + payload()[:50],
		"headers": "POST /api/v1/alerts HTTP/1.1\r\nHost: b\r\n",
	} {
		t.Run(what, func(t *testing.T) {
			conn, err := net.Dial("tcp", webhook)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			if _, err := io.WriteString(conn, head); err != nil {
				t.Fatal(err)
			}
			if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
				t.Fatal(err)
			}
			answer, err := io.ReadAll(conn)
			if err != nil {
				t.Fatalf("a slow sender is hung up on: %v", err)
			}
			if what == "body" && !bytes.HasPrefix(answer, []byte("HTTP/1.1 503 ")) {
				t.Errorf("a body that did not come in time is answered 503, so that Alertmanager repeats it: got %q", answer)
			}
		})
	}
	if n := len(in.batches()); n != 0 {
		t.Errorf("half a body hands nothing over: got %d batches", n)
	}
}

func TestShutdownAnswersWhatIsInHand(t *testing.T) {
	s, in := newServer(t, nil)
	entered, leave := make(chan struct{}), make(chan struct{})
	in.accept = func(context.Context) error {
		close(entered)
		<-leave
		return nil
	}
	listeners := make([]net.Listener, 2)
	for i := range listeners {
		var err error
		if listeners[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(listeners[0], listeners[1]) }()
	url := "http://" + listeners[0].Addr().String() + "/api/v1/alerts"

	answered := make(chan int, 1)
	go func() {
		response, err := http.Post(url, "application/json", strings.NewReader(payload()))
		if err != nil {
			answered <- 0
			return
		}
		_ = response.Body.Close()
		answered <- response.StatusCode
	}()
	<-entered
	down := make(chan error, 1)
	go func() { down <- s.Shutdown(t.Context()) }()
	for { // until the listener is closed
		conn, err := net.Dial("tcp", listeners[0].Addr().String())
		if err != nil {
			break
		}
		_ = conn.Close()
		time.Sleep(time.Millisecond)
	}
	response, err := http.Get("http://" + listeners[1].Addr().String() + "/healthz")
	if err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("health can be asked while the last requests are answered: %v", err)
	} else {
		_ = response.Body.Close()
	}
	select {
	case err := <-down:
		t.Errorf("Shutdown waits for the request in hand; it returned %v", err)
	default:
	}
	close(leave)
	if code := <-answered; code != http.StatusOK {
		t.Errorf("a request in hand is answered: got %d", code)
	}
	if err := <-down; err != nil {
		t.Errorf("Shutdown ends without error once all is answered: %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve returns no error after a shutdown: got %v", err)
	}
}

func TestServeTellsOfALostListener(t *testing.T) {
	s, _ := newServer(t, nil)
	listeners := make([]net.Listener, 2)
	for i := range listeners {
		var err error
		if listeners[i], err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			t.Fatal(err)
		}
	}
	_ = listeners[1].Close()
	if err := s.Serve(listeners[0], listeners[1]); err == nil {
		t.Error("Serve returns the error of a listener that broke")
	}
	if _, err := net.Dial("tcp", listeners[0].Addr().String()); err == nil {
		t.Error("one broken listener closes the other")
	}
}
