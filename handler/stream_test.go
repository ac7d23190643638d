package handler_test

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// openStream opens the live stream and returns its lines.
func openStream(t *testing.T, address string) (*http.Response, *bufio.Scanner) {
	t.Helper()
	response, err := http.Get("http://" + address + "/live")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = response.Body.Close() })
	return response, bufio.NewScanner(response.Body)
}

// TestStreamReportsAChange: half a second after a change, an event is written. That is
// longer than other answers may take here.
func TestStreamReportsAChange(t *testing.T) {
	s, board := newPageServer(t)
	server := httptest.NewUnstartedServer(s.OpsHandler())
	server.Config.WriteTimeout = 50 * time.Millisecond
	server.Start()
	t.Cleanup(server.Close)
	response, lines := openStream(t, strings.TrimPrefix(server.URL, "http://"))
	if got := response.Header.Get("Content-Type"); got != "text/event-stream" || !lines.Scan() {
		t.Fatalf("/live is a stream of events: got %s", got)
	}
	board.SetRecord(rolledBack("web", 2, time.Hour))
	for lines.Scan() {
		if lines.Text() == "event: change" {
			return
		}
	}
	t.Errorf("a change is reported: the stream ended with %v", lines.Err())
}

func TestStreamsAreBoundedAndEndAtShutdown(t *testing.T) {
	s, _ := newPageServer(t)
	_, ops := serve(t, s)
	var last *bufio.Scanner
	for i := range 32 {
		response, lines := openStream(t, ops)
		if response.StatusCode != http.StatusOK || !lines.Scan() {
			t.Fatalf("stream %d is answered: got %d", i, response.StatusCode)
		}
		last = lines
	}
	if response, _ := openStream(t, ops); response.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a stream beyond the limit is refused: got %d", response.StatusCode)
	}
	limited, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if err := s.Shutdown(limited); err != nil {
		t.Fatalf("streams end at the shutdown: %v", err)
	}
	for last.Scan() {
		continue
	}
}
