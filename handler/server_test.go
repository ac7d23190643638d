package handler_test

import (
	"context"
	"encoding/json"
	"errors"
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

// inbox is a Receiver that keeps the alerts that it receives.
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

// batches returns the alerts of each call so far.
func (i *inbox) batches() [][]rollback.Alert {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.calls
}

// records is a Reader of fixed records.
type records struct {
	all []rollback.Record
	err error
}

func (r records) All(context.Context) ([]rollback.Record, error) { return r.all, r.err }

func (r records) Records(_ context.Context, k rollback.Key, _ rollback.Consistency) ([]rollback.Record, error) {
	var found []rollback.Record
	for _, one := range r.all {
		if one.Key == k {
			found = append(found, one)
		}
	}
	return found, r.err
}

func (r records) Record(_ context.Context, k rollback.Key, revision int) (rollback.Record, bool, error) {
	for _, one := range r.all {
		if one.Key == k && one.Revision == revision {
			return one, true, r.err
		}
	}
	return rollback.Record{}, false, r.err
}

func openConfig() handler.Config {
	return handler.Config{
		Listen: "127.0.0.1:0", OpsListen: "127.0.0.1:0", Auth: handler.AuthNone, OpsAuth: handler.OpsAuthNone,
		MaxBody: 1 << 20, ReadTimeout: 5 * time.Second, StoreTimeout: 8 * time.Second,
	}
}

// newServer returns a server without authentication, as changed by change, and the inbox of its
// alerts.
func newServer(t *testing.T, change func(*handler.Options)) (*handler.Server, *inbox) {
	t.Helper()
	in := &inbox{}
	o := handler.Options{
		Config: openConfig(), Receiver: in, Reader: records{}, Registry: prometheus.NewRegistry(),
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
		t.Errorf("an answer other than 2xx is JSON: %v in %q", err, w.Body)
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

func TestAlertsThatCannotBeStoredAreAnswered503(t *testing.T) {
	s, in := newServer(t, nil)
	in.accept = func(context.Context) error { return errors.New("etcd is away: secret detail") }
	w := post(s.Handler(), payload())
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("alerts that could not be stored are answered 503, so that Alertmanager posts them again: got %d", w.Code)
	}
	if _, hint := problemOf(t, w); hint == "" || strings.Contains(w.Body.String(), "secret detail") {
		t.Errorf("the answer says what to do, and the cause is only in the log: got %s", w.Body)
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
		t.Errorf("storing ends after BACKOUT_STORE_TIMEOUT, and is answered 503: got %d", w.Code)
	}
}

func TestPanicIsAnswered500(t *testing.T) {
	registry, log := prometheus.NewRegistry(), &lockedBuffer{}
	s, in := newServer(t, func(o *handler.Options) { o.Registry, o.Log = registry, slog.New(slog.NewTextHandler(log, nil)) })
	in.accept = func(context.Context) error { panic("a defect") }
	if w := post(s.Handler(), payload()); w.Code != http.StatusInternalServerError {
		t.Errorf("a panic is answered 500, so that Alertmanager posts again: got %d", w.Code)
	}
	if got := log.String(); strings.Count(got, "a defect") != 1 || !strings.Contains(got, "server_test.go") {
		t.Errorf("the log has the cause and the stack: got %s", got)
	}
	in.accept = nil
	if w := post(s.Handler(), payload()); w.Code != http.StatusOK {
		t.Errorf("a panic ends one request, not the process: got %d", w.Code)
	}
	for code, want := range map[string]float64{"200": 1, "500": 1, "503": 0} {
		if got := requests(t, registry, code); got != want {
			t.Errorf("every answer is counted, also panics: backout_webhook_requests_total{code=%q} is %v, want %v", code, got, want)
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
	t.Errorf("backout_webhook_requests_total{code=%q} exists from the start", code)
	return 0
}
