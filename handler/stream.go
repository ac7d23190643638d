package handler

import (
	"io"
	"net/http"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/upcommerce/backout/rollback"
)

// Bounds of the live stream.
const (
	// maxStreams bounds how many readers are told at a time; the others ask by the
	// clock.
	maxStreams = 32
	// calm is the shortest time between two events of one stream.
	calm = 500 * time.Millisecond
	// pulse is how often an idle stream shows that it lives, and streamWrite how
	// long a reader may take for one event.
	pulse       = 15 * time.Second
	streamWrite = 5 * time.Second
)

// stream tells open pages that something has changed; what, they ask for as any
// reader does.
type stream struct {
	board *rollback.Board
	room  chan struct{}
	// over is closed when the listener shuts down: streams never end by
	// themselves.
	over chan struct{}
}

func newStream(b *rollback.Board) *stream {
	return &stream{board: b, room: make(chan struct{}, maxStreams), over: make(chan struct{})}
}

// serve sends server-sent events until the reader goes. It answers 503 when there
// are too many.
func (s *stream) serve(c *gin.Context) {
	select {
	case s.room <- struct{}{}:
		defer func() { <-s.room }()
	default:
		c.Header("Retry-After", "30")
		c.JSON(http.StatusServiceUnavailable, problem{"too many pages are open", "the page goes on asking by the clock"})
		return
	}
	control := http.NewResponseController(c.Writer)
	protect(c.Writer.Header())
	c.Header("Content-Type", "text/event-stream")
	c.Header("Cache-Control", "no-store")
	c.Header("X-Accel-Buffering", "no")
	c.Status(http.StatusOK)
	news := s.board.News()
	for text := "retry: 3000\n\n"; ; {
		// In place of the listener's limit, which is for answers that end.
		_ = control.SetWriteDeadline(time.Now().Add(streamWrite))
		if _, err := io.WriteString(c.Writer, text); err != nil {
			return
		}
		if err := control.Flush(); err != nil {
			return
		}
		if text = s.next(c, &news); text == "" {
			return
		}
	}
}

// next waits for what is to be said next; "" means that nobody listens any more.
func (s *stream) next(c *gin.Context, news *<-chan struct{}) string {
	select {
	case <-c.Request.Context().Done():
		return ""
	case <-s.over:
		return ""
	case <-time.After(pulse):
		return ": still here\n\n"
	case <-*news:
	}
	select { // what comes at once is one event
	case <-c.Request.Context().Done():
		return ""
	case <-s.over:
		return ""
	case <-time.After(calm):
	}
	*news = s.board.News()
	return "event: change\ndata: {}\n\n"
}
