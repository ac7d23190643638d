package handler

import (
	"io"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"
)

// Bounds of the live stream.
const (
	// maxStreams bounds the open streams; further pages poll.
	maxStreams = 32
	// eventInterval is the shortest time between two events of one stream.
	eventInterval = 500 * time.Millisecond
	// keepAliveInterval is how often an idle stream shows that it is alive.
	keepAliveInterval = 15 * time.Second
	// streamWriteTimeout limits the write of one event.
	streamWriteTimeout = 5 * time.Second
)

// stream informs open pages that the board has changed. They fetch the change themselves.
type stream struct {
	board Board
	// slots has an element for each open stream.
	slots chan struct{}
	// closing is closed when the listener shuts down: streams do not end by themselves.
	closing chan struct{}
}

func newStream(b Board) *stream {
	return &stream{board: b, slots: make(chan struct{}, maxStreams), closing: make(chan struct{})}
}

// serve sends server-sent events until the client disconnects. It answers 503 when too
// many streams are open.
func (s *stream) serve(c *gin.Context) {
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	default:
		c.Header("Retry-After", "30")
		c.JSON(http.StatusServiceUnavailable, problem{"too many pages are open", "this page keeps polling"})
		return
	}
	control := http.NewResponseController(c.Writer)
	setSecurityHeaders(c.Writer.Header())
	c.Header("Content-Type", "text/event-stream")
	c.Header("Cache-Control", "no-store")
	c.Header("X-Accel-Buffering", "no")
	c.Status(http.StatusOK)
	changed := s.board.Changed()
	for text := "retry: 3000\n\n"; ; {
		// In place of the listener's WriteTimeout, which is for answers that end.
		_ = control.SetWriteDeadline(time.Now().Add(streamWriteTimeout))
		if _, err := io.WriteString(c.Writer, text); err != nil {
			return
		}
		if err := control.Flush(); err != nil {
			return
		}
		if text = s.next(c, &changed); text == "" {
			return
		}
	}
}

// next waits for the next event and returns its text; "" when the client has disconnected
// or the listener shuts down.
func (s *stream) next(c *gin.Context, changed *<-chan struct{}) string {
	select {
	case <-c.Request.Context().Done():
		return ""
	case <-s.closing:
		return ""
	case <-time.After(keepAliveInterval):
		return ": keep-alive\n\n"
	case <-*changed:
	}
	select { // several changes in a row become one event
	case <-c.Request.Context().Done():
		return ""
	case <-s.closing:
		return ""
	case <-time.After(eventInterval):
	}
	*changed = s.board.Changed()
	return "event: change\ndata: {}\n\n"
}
