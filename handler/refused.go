package handler

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
)

// Bounds of the log lines that any client can cause.
const (
	// maxLines is how many lines are logged in each linesWindow.
	maxLines    = 20
	linesWindow = 10 * time.Second
)

// lineLimit bounds log lines: of a flood of them, the first ones are logged, and how many
// more there were. It is safe for concurrent use; its zero value is ready.
type lineLimit struct {
	mu sync.Mutex
	// began is when the window began in which so many lines were logged and left out.
	began         time.Time
	logged, other int
}

// count counts a line, and reports whether it is logged. The second result is how many were
// not logged in the window that has just ended.
func (l *lineLimit) count(now time.Time) (say bool, others int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.began) >= linesWindow {
		others = l.other
		l.began, l.logged, l.other = now, 0, 0
	}
	if l.logged == maxLines {
		l.other++
		return false, others
	}
	l.logged++
	return true, others
}

// refused logs webhooks that were not stored, with their peer. It is safe for concurrent
// use.
type refused struct {
	log   *slog.Logger
	lines lineLimit
}

// say logs one refused webhook.
func (r *refused) say(ctx context.Context, peer string, code int, reason string) {
	say, others := r.lines.count(time.Now())
	if others > 0 {
		r.log.WarnContext(ctx, "more webhooks were refused", "count", others)
	}
	if say {
		r.log.WarnContext(ctx, "webhook refused", "peer", peer, "code", code, "reason", reason)
	}
}

// connectionErrors logs what net/http writes to a server's ErrorLog, such as TLS handshakes
// that fail. It is safe for concurrent use.
type connectionErrors struct {
	slog.Handler

	log   *slog.Logger
	lines lineLimit
}

// Handle logs one line.
func (e *connectionErrors) Handle(ctx context.Context, line slog.Record) error {
	say, others := e.lines.count(time.Now())
	if others > 0 {
		e.log.WarnContext(ctx, "more errors of connections", "count", others)
	}
	if say {
		e.log.WarnContext(ctx, "error of a connection", "error", strings.TrimSpace(line.Message))
	}
	return nil
}

// refuse answers a webhook with a problem and logs it. The cause is only in the log; nil
// if the problem says everything.
func (r *refused) refuse(c *gin.Context, code int, p problem, cause error) {
	reason := p.Error
	if cause != nil {
		reason += ": " + cause.Error()
	}
	r.say(c, c.Request.RemoteAddr, code, reason)
	c.AbortWithStatusJSON(code, p)
}

// refuseUnread is refuse for a webhook whose body has not been read.
func (r *refused) refuseUnread(c *gin.Context, code int, p problem) {
	leaveBody(c)
	r.refuse(c, code, p, nil)
}
