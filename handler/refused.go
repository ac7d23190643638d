package handler

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/upcommerce/backout/rollback"
)

// refused logs webhooks that were not stored, with their peer. It is safe for concurrent
// use.
type refused struct {
	log   *slog.Logger
	lines rollback.LineLimit
}

// say logs one refused webhook.
func (r *refused) say(ctx context.Context, peer string, code int, reason string) {
	say, others := r.lines.Count(time.Now())
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
	lines rollback.LineLimit
}

// Handle logs one line.
func (e *connectionErrors) Handle(ctx context.Context, line slog.Record) error {
	say, others := e.lines.Count(time.Now())
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
