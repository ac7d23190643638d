package handler

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
)

// maxConnections bounds the open connections of one listener. Alertmanagers keep one or
// two each.
const maxConnections = 256

// connections bounds the open connections of a server. For a new one beyond the bound it
// closes the one that has been without an admitted request for the longest time; if every
// one has such a request, it closes the new one. A client that sends half a request, or one
// that is refused, is as good as idle. It is safe for concurrent use.
type connections struct {
	mu sync.Mutex
	// open has since when each connection has been without an admitted request; zero if it
	// has one.
	open map[net.Conn]time.Time
}

func newConnections() *connections { return &connections{open: make(map[net.Conn]time.Time)} }

// connectionKey is the key of a request's connection in its context.
type connectionKey struct{}

// context is the ConnContext of a server.
func (s *connections) context(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, connectionKey{}, c)
}

// admit keeps the connection of a request open until the request is answered.
func (s *connections) admit(c *gin.Context) {
	if conn, ok := c.Request.Context().Value(connectionKey{}).(net.Conn); ok {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.set(conn, time.Time{})
	}
}

// changed is the ConnState of a server.
func (s *connections) changed(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case http.StateNew:
		if len(s.open) >= maxConnections {
			victim := s.idlest(c)
			delete(s.open, victim)
			// With TLS, it may have to wait for the peer.
			go func() { _ = victim.Close() }()
			if victim == c {
				return
			}
		}
		s.open[c] = time.Now()
	case http.StateActive: // its headers have arrived; admit decides
	case http.StateIdle:
		s.set(c, time.Now())
	case http.StateHijacked, http.StateClosed:
		delete(s.open, c)
	}
}

// set sets since when a connection has been without an admitted request, unless it is being
// closed.
func (s *connections) set(c net.Conn, idle time.Time) {
	if _, kept := s.open[c]; kept {
		s.open[c] = idle
	}
}

// idlest returns the connection that has been without an admitted request for the longest
// time; c if every one has such a request.
func (s *connections) idlest(c net.Conn) net.Conn {
	var since time.Time
	for other, idle := range s.open {
		if !idle.IsZero() && (since.IsZero() || idle.Before(since)) {
			c, since = other, idle
		}
	}
	return c
}

// leaveBody gives up the rest of a request's body: the server would wait for it after the
// answer. The connection is closed if there is more.
func leaveBody(c *gin.Context) {
	if c.Request.ContentLength != 0 {
		c.Header("Connection", "close")
		_ = http.NewResponseController(c.Writer).SetReadDeadline(time.Now())
	}
}
