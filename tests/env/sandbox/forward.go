package sandbox

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"

	"github.com/upcommerce/backout/tests/env/sandbox/control"
)

// forwards are the listeners on the host that forward connections inside. The zero value has none.
type forwards struct {
	mu        sync.Mutex
	listeners map[string]net.Listener // by inner address
	conns     map[net.Conn]struct{}
	closed    bool
}

var errClosed = errors.New("the sandbox is closed")

// Forward listens on a free loopback port of the host and forwards each connection to a TCP address inside; nothing needs to
// listen there yet. It returns the address on the host, "127.0.0.1:NNNNN": always the same one for the same inner address, and
// valid until Close.
func (s *Sandbox) Forward(ctx context.Context, inner string) (string, error) {
	f := &s.forwards
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return "", fmt.Errorf("forward a port to %s: %w", inner, errClosed)
	}
	if l, ok := f.listeners[inner]; ok {
		return l.Addr().String(), nil
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("forward a port to %s: %w", inner, err)
	}
	if f.listeners == nil {
		f.listeners, f.conns = map[string]net.Listener{}, map[net.Conn]struct{}{}
	}
	f.listeners[inner] = l
	go f.serve(l, inner, s.control) //nolint:contextcheck // a forward outlives the call that asks for it
	return l.Addr().String(), nil
}

func (f *forwards) areClosed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed
}

func (f *forwards) serve(l net.Listener, inner string, to control.Client) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go f.forward(conn, inner, to)
	}
}

// forward forwards one connection. If nothing accepts it inside, it is closed, as by any proxy.
func (f *forwards) forward(conn net.Conn, inner string, to control.Client) {
	if !f.keep(conn) {
		return
	}
	defer f.drop(conn)
	ctx, cancel := context.WithTimeout(context.Background(), dialLimit)
	defer cancel()
	far, err := to.Dial(ctx, inner)
	if err != nil {
		return
	}
	control.Splice(conn, far)
}

// keep stores a connection for close, or closes it if close was called already.
func (f *forwards) keep(conn net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		_ = conn.Close()
		return false
	}
	f.conns[conn] = struct{}{}
	return true
}

func (f *forwards) drop(conn net.Conn) {
	_ = conn.Close()
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.conns, conn)
}

func (f *forwards) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	for _, l := range f.listeners {
		_ = l.Close()
	}
	for c := range f.conns {
		_ = c.Close()
	}
}
