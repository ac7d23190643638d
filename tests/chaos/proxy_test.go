package chaos

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"k8s.io/client-go/rest"
)

// link returns an open link to an API server that counts the requests that reach it.
func link(t *testing.T) (*Proxy, *Link, *atomic.Int32) {
	t.Helper()
	reached := new(atomic.Int32)
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { reached.Add(1) }))
	t.Cleanup(server.Close)
	proxy, err := NewProxy(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	l, err := proxy.Link(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return proxy, l, reached
}

func send(t *testing.T, l *Link, method, path string) error {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, l.URL()+path, strings.NewReader(""))
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultTransport.RoundTrip(request)
	if err == nil {
		_ = answer.Body.Close()
	}
	return err
}

func TestOnlyWritesAreNumbered(t *testing.T) {
	proxy, l, reached := link(t)
	for _, r := range []struct {
		method, path string
		writes       int
	}{
		{http.MethodGet, "/api/v1/secrets", 0},
		{http.MethodPost, "/api/v1/namespaces/a/secrets", 1},
		{http.MethodPut, "/apis/coordination.k8s.io/v1/namespaces/a/leases/backout", 1},
		{http.MethodPatch, "/apis/networking.k8s.io/v1/namespaces/a/ingresses/b?dryRun=All", 1},
		{http.MethodPatch, "/apis/networking.k8s.io/v1/namespaces/a/ingresses/b", 2},
		{http.MethodPost, "/api/v1/namespaces/a/events", 2},
		{http.MethodPost, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", 2},
		{http.MethodPost, "/apis/authentication.k8s.io/v1/selfsubjectreviews", 2},
		{http.MethodDelete, "/api/v1/namespaces/a/secrets/c", 3},
	} {
		if err := send(t, l, r.method, r.path); err != nil {
			t.Fatal(err)
		}
		if n := len(proxy.Writes()); n != r.writes {
			t.Errorf("after %s %s there are %d writes, want %d", r.method, r.path, n, r.writes)
		}
	}
	if reached.Load() != 9 || proxy.Leader() != 0 {
		t.Errorf("%d requests reached the API server, want all 9; the leader is %d, want 0", reached.Load(), proxy.Leader())
	}
}

func TestAFaultHappensOnItsSideOfTheWrite(t *testing.T) {
	for _, c := range []struct {
		after   bool
		reached int32
	}{{false, 0}, {true, 1}} {
		proxy, l, reached := link(t)
		proxy.Break(Moment{Write: 1, After: c.after}, func(Write) error { return errCut })
		if err := send(t, l, http.MethodPost, "/api/v1/namespaces/a/secrets"); err == nil {
			t.Errorf("after=%t: the write was answered, want the connection cut", c.after)
		}
		if reached.Load() != c.reached {
			t.Errorf("after=%t: %d writes reached the API server, want %d", c.after, reached.Load(), c.reached)
		}
		if err := send(t, l, http.MethodPost, "/api/v1/namespaces/a/secrets"); err != nil {
			t.Errorf("after=%t: the fault happened again: %v", c.after, err)
		}
	}
}

func TestACutLinkOpensAtTheSameAddress(t *testing.T) {
	_, l, _ := link(t)
	l.Cut()
	if send(t, l, http.MethodGet, "/") == nil {
		t.Error("a cut link let a request through")
	}
	if err := l.Open(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	if err := send(t, l, http.MethodGet, "/"); err != nil {
		t.Errorf("an open link let no request through: %v", err)
	}
}
