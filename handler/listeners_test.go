package handler_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/upcommerce/backout/handler"
)

// TestRoutesOfBothListeners: neither listener serves the routes of the other.
func TestRoutesOfBothListeners(t *testing.T) {
	s, in := newServer(t, nil)
	for _, c := range []struct {
		name         string
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
			t.Errorf("%s: %s %s is answered %d, got %d", c.name, c.method, c.path, c.want, w.Code)
		}
	}
	if n := len(in.batches()); n != 0 {
		t.Errorf("only a POST of alerts passes anything on: got %d batches", n)
	}
}

// TestSlowSenderIsCutOff: a payload that was not read to its end may have been valid: the
// sender has to post it again.
func TestSlowSenderIsCutOff(t *testing.T) {
	s, in := newServer(t, func(o *handler.Options) { o.Config.ReadTimeout = 100 * time.Millisecond })
	webhook, _ := serve(t, s)
	for part, head := range map[string]string{
		"body":    "POST /api/v1/alerts HTTP/1.1\r\nHost: b\r\nContent-Length: 1000\r\n\r\n" + payload()[:50],
		"headers": "POST /api/v1/alerts HTTP/1.1\r\nHost: b\r\n",
	} {
		t.Run(part, func(t *testing.T) {
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
				t.Fatalf("the connection of a slow sender is closed: %v", err)
			}
			if part == "body" && !bytes.HasPrefix(answer, []byte("HTTP/1.1 503 ")) {
				t.Errorf("a body that does not arrive in time is answered 503, so that Alertmanager posts it again: got %q", answer)
			}
		})
	}
	if n := len(in.batches()); n != 0 {
		t.Errorf("half a body passes nothing on: got %d batches", n)
	}
}

func TestShutdownAnswersRequestsInProgress(t *testing.T) {
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
		t.Errorf("health checks are answered while the last requests are: %v", err)
	} else {
		_ = response.Body.Close()
	}
	select {
	case err := <-down:
		t.Errorf("Shutdown waits for the request in progress: it returned %v", err)
	default:
	}
	close(leave)
	if code := <-answered; code != http.StatusOK {
		t.Errorf("a request in progress is answered: got %d", code)
	}
	if err := <-down; err != nil {
		t.Errorf("Shutdown returns no error once every request is answered: %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve returns no error after a shutdown: got %v", err)
	}
}

func TestServeReturnsTheErrorOfABrokenListener(t *testing.T) {
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
