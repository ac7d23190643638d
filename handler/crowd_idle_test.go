package handler_test

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/upcommerce/backout/handler"
)

// maxOpen is how many connections a listener keeps.
const maxOpen = 256

// TestThousandsOfIdleConnectionsShutNoSenderOut: however many clients connect and send nothing, the
// bound holds, and each sender with a token is answered.
func TestThousandsOfIdleConnectionsShutNoSenderOut(t *testing.T) {
	const crowd = 8000
	synctest.Test(t, func(t *testing.T) {
		path := t.TempDir() + "/token"
		write(t, path, "a token of 19 bytes")
		s, in := newServer(t, func(o *handler.Options) {
			o.Config.Auth, o.Config.Tokens = handler.AuthBearer, handler.Tokens{"*": {path}}
		})
		webhook, ops := newPipes(), newPipes()
		served := make(chan error, 1)
		go func() { served <- s.Serve(webhook, ops) }()
		for i := range crowd {
			if _, err := webhook.dial(t.Context(), "", ""); err != nil {
				t.Fatal(err)
			}
			if i%1000 == 999 {
				synctest.Wait()
				if open := webhook.countOpen(); open != maxOpen {
					t.Errorf("after %d connections %d are open, want %d", i+1, open, maxOpen)
				}
				if got := postThrough(t, webhook); got != http.StatusOK {
					t.Errorf("after %d connections a sender with a token is answered %d", i+1, got)
				}
			}
		}
		if len(in.calls) != crowd/1000 {
			t.Errorf("%d webhooks were received, want each of %d", len(in.calls), crowd/1000)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

// postThrough posts an alert on a connection of its own, and returns the code of the answer.
func postThrough(t *testing.T, p *pipes) int {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://backout/api/v1/alerts", strings.NewReader(payload()))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer a token of 19 bytes")
	answer, err := (&http.Transport{DialContext: p.dial, DisableKeepAlives: true}).RoundTrip(request)
	if err != nil {
		t.Error(err)
		return 0
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}

// pipes is a listener in memory: thousands of sockets are more than some machines allow.
type pipes struct {
	accepted chan net.Conn
	closed   chan struct{}
	close    func()

	mu   sync.Mutex
	open int
}

func newPipes() *pipes {
	p := &pipes{accepted: make(chan net.Conn), closed: make(chan struct{})}
	p.close = sync.OnceFunc(func() { close(p.closed) })
	return p
}

func (p *pipes) countOpen() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open
}

// dial connects a client.
func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	counted := &pipe{Conn: server, closed: sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.open--
	})}
	select {
	case p.accepted <- counted:
		p.mu.Lock()
		defer p.mu.Unlock()
		p.open++
		return client, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.accepted:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	p.close()
	return nil
}

func (p *pipes) Addr() net.Addr { return pipe{}.LocalAddr() }

// pipe is the server's end of a connection.
type pipe struct {
	net.Conn
	closed func()
}

func (p *pipe) Close() error {
	p.closed()
	return p.Conn.Close()
}

func (pipe) LocalAddr() net.Addr { return &net.UnixAddr{Name: "backout", Net: "pipe"} }
