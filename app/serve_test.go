package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is an in-memory listener. Unlike a socket it lets a synctest bubble detect that a server waits.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes", Net: "unix"} }

// client returns a client that opens a new connection to p for every request.
func (p *pipes) client() *http.Client {
	return &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			near, far := net.Pipe()
			select {
			case p.conns <- far:
				return near, nil
			case <-p.closed:
				return nil, net.ErrClosed
			}
		},
	}}
}

// get returns the status code of path, or 0 if there is no listener.
func get(ctx context.Context, client *http.Client, path string) int {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://shop"+path, nil)
	if err != nil {
		return 0
	}
	answer, err := client.Do(request)
	if err != nil {
		return 0
	}
	_, _ = io.Copy(io.Discard, answer.Body) // only the status counts
	_ = answer.Body.Close()
	return answer.StatusCode
}

func TestDrainKeepsServingUntilRoutersStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop := newShop(t, nil)
		ctx, terminate := context.WithCancel(t.Context())
		listener := newPipes()
		client := listener.client()
		ended := make(chan error, 1)
		go func() { ended <- serve(ctx, listener, shop, 3*time.Second) }()

		if code := get(t.Context(), client, "/readyz"); code != http.StatusOK {
			t.Fatalf("a serving storefront answers /readyz with %d, want 200", code)
		}
		terminate()
		time.Sleep(2 * time.Second)
		if code := get(t.Context(), client, "/readyz"); code != http.StatusServiceUnavailable {
			t.Errorf("2 s into a drain of 3 s /readyz answers %d, want 503", code)
		}
		if code := get(t.Context(), client, "/"); code != http.StatusOK {
			t.Errorf("2 s into a drain of 3 s / answers %d, want 200", code)
		}
		time.Sleep(2 * time.Second)
		if code := get(t.Context(), client, "/"); code != 0 {
			t.Errorf("after the drain / answers %d, want no listener", code)
		}
		if err := <-ended; err != nil {
			t.Errorf("the drain ends with %v, want nil", err)
		}
	})
}

func TestDrainFinishesRequestsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop := newShop(t, nil)
		ctx, terminate := context.WithCancel(t.Context())
		listener := newPipes()
		shop.shoppers = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			terminate()
			time.Sleep(5 * time.Second)
		})
		ended := make(chan error, 1)
		go func() { ended <- serve(ctx, listener, shop, time.Second) }()

		if code := get(t.Context(), listener.client(), "/"); code != http.StatusOK {
			t.Errorf("a request in flight when the drain began is answered %d, want 200", code)
		}
		if err := <-ended; err != nil {
			t.Errorf("the drain ends with %v, want nil", err)
		}
	})
}

func TestDrainGivesUpOnRequestsThatNeverEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shop := newShop(t, nil)
		ctx, terminate := context.WithCancel(t.Context())
		listener := newPipes()
		shop.shoppers = http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			terminate()
			time.Sleep(time.Minute)
		})
		go get(t.Context(), listener.client(), "/")
		start := time.Now()
		if err := serve(ctx, listener, shop, time.Second); err == nil {
			t.Error("a drain with a request still in flight ends without an error")
		}
		if took := time.Since(start).Round(time.Second); took != time.Second+finishTimeout {
			t.Errorf("the drain took %s, want the delay and finishTimeout, 11s", took)
		}
		time.Sleep(time.Minute) // for the request, which outlives the drain
	})
}

func TestServeReportsABrokenListener(t *testing.T) {
	listener := newPipes()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	if err := serve(t.Context(), listener, newShop(t, nil), 0); err == nil {
		t.Error("a listener that breaks ends the storefront without an error")
	}
}
