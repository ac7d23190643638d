package handler

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
)

// Bounds of the log lines about refused webhooks.
const (
	// refusedLines is how many lines are logged in each refusedWindow.
	refusedLines  = 20
	refusedWindow = 10 * time.Second
)

// refused logs webhooks that were not stored, with their peer; of a flood of them the
// first ones, and how many more there were. It is safe for concurrent use.
type refused struct {
	log *slog.Logger

	mu sync.Mutex
	// began is when the window began in which so many lines were logged and left out.
	began         time.Time
	logged, other int
}

// say logs one refused webhook.
func (r *refused) say(ctx context.Context, peer string, code int, reason string) {
	say, others := r.count(time.Now())
	if others > 0 {
		r.log.WarnContext(ctx, "more webhooks were refused", "count", others)
	}
	if say {
		r.log.WarnContext(ctx, "webhook refused", "peer", peer, "code", code, "reason", reason)
	}
}

// count counts a refused webhook, and reports whether it is logged. The second result is
// how many were not logged in the window that has just ended.
func (r *refused) count(now time.Time) (say bool, others int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.began) >= refusedWindow {
		others = r.other
		r.began, r.logged, r.other = now, 0, 0
	}
	if r.logged == refusedLines {
		r.other++
		return false, others
	}
	r.logged++
	return true, others
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
