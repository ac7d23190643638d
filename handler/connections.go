package handler

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// maxConnections bounds the open connections of one listener. Alertmanagers keep one or
// two each.
const maxConnections = 256

// connections bounds the open connections of a server. For a new one beyond the bound it
// closes the one that has been without a request for the longest time; if every one has a
// request, it closes the new one. It is safe for concurrent use.
type connections struct {
	mu sync.Mutex
	// open has since when each connection has been without a request; zero if it has one.
	open map[net.Conn]time.Time
}

func newConnections() *connections { return &connections{open: make(map[net.Conn]time.Time)} }

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
	case http.StateActive:
		s.set(c, time.Time{})
	case http.StateIdle:
		s.set(c, time.Now())
	case http.StateHijacked, http.StateClosed:
		delete(s.open, c)
	}
}

// set sets since when a connection has been without a request, unless it is being closed.
func (s *connections) set(c net.Conn, idle time.Time) {
	if _, kept := s.open[c]; kept {
		s.open[c] = idle
	}
}

// idlest returns the connection that has been without a request for the longest time; c
// if every one has a request.
func (s *connections) idlest(c net.Conn) net.Conn {
	var since time.Time
	for other, idle := range s.open {
		if !idle.IsZero() && (since.IsZero() || idle.Before(since)) {
			c, since = other, idle
		}
	}
	return c
}
