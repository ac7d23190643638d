package handler_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/upcommerce/backout/handler"
)

// Clients without a token that hold every connection, by a request of which the body never
// comes, by half a request or by nothing, shut out neither an Alertmanager nor a probe.
func TestACrowdWithoutATokenShutsNoSenderOut(t *testing.T) {
	for name, request := range map[string]string{
		"a body that never comes": "POST /api/v1/alerts HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n",
		"a body without an end":   "GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n",
		"half a request":          "POST /api",
		"nothing":                 "",
	} {
		t.Run(name, func(t *testing.T) {
			path := t.TempDir() + "/token"
			write(t, path, "a token of 19 bytes")
			s, _ := newServer(t, func(o *handler.Options) {
				o.Config.Auth, o.Config.Tokens = handler.AuthBearer, handler.Tokens{"*": {path}}
			})
			webhook, ops := serve(t, s)
			for _, address := range []string{webhook, ops} {
				crowd(t, address, request)
			}
			for range 10 {
				expectAnswer(t, http.MethodGet, "http://"+ops+"/healthz", "")
				expectAnswer(t, http.MethodPost, "http://"+webhook+"/api/v1/alerts", payload())
			}
		})
	}
}

// crowd opens as many connections as a listener keeps, and sends the request on each.
func crowd(t *testing.T, address, request string) {
	t.Helper()
	for range 256 {
		var d net.Dialer
		conn, err := d.DialContext(t.Context(), "tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		if _, err := fmt.Fprint(conn, request); err != nil {
			t.Fatal(err)
		}
	}
}

// expectAnswer sends a request on a connection of its own and expects 200 within a second.
func expectAnswer(t *testing.T, method, url, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer a token of 19 bytes")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Do(request)
	if err != nil {
		t.Errorf("%s %s: %v", method, url, err)
		return
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("%s %s is answered %d", method, url, answer.StatusCode)
	}
}
