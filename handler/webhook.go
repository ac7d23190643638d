package handler

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/gin-gonic/gin"
	"golang.org/x/sync/semaphore"

	"github.com/upcommerce/backout/rollback"
)

// Receiver stores alerts. *engine.Engine is one.
type Receiver interface {
	// Accept returns nil once every alert is stored or refused.
	Accept(ctx context.Context, alerts []rollback.Alert) error
}

// webhook answers POST /api/v1/alerts.
type webhook struct {
	config   Config
	receiver Receiver
	// bearer is nil if senders need no token.
	bearer  *bearer
	metrics *metrics
	refused *refused
	// reading has room for the bytes of the webhooks that are read and stored at a time,
	// decoding for those that are decoded.
	reading  *semaphore.Weighted
	decoding chan struct{}
	log      *slog.Logger
}

// Bounds of the webhooks in progress. One takes up to six times its size of memory, and
// while it is decoded some more.
const (
	// maxReading bounds the bytes of all bodies. A body counts as minReading at least.
	maxReading  = 16 << 20
	minReading  = 64 << 10
	maxDecoding = 4
	// roomTimeout is how long a webhook waits for others.
	roomTimeout = 3 * time.Second
)

// problem is the body of an answer that is not 2xx: what is wrong, and how to fix it.
type problem struct {
	Error string `json:"error"`
	Hint  string `json:"hint,omitempty"`
}

// senderKey is the key of a request's *rollback.Sender in its context.
const senderKey = "sender"

// authenticate answers 401 before a byte of the body is read.
func (w *webhook) authenticate(c *gin.Context) {
	sender, allowed := certificateSender(c.Request, w.config.ClientNames)
	if !allowed {
		w.refused.refuseUnread(c, http.StatusUnauthorized, problem{
			"the client certificate has none of the names that are allowed",
			"present another certificate, or add one of its names to BACKOUT_TLS_CLIENT_NAMES",
		})
		return
	}
	if w.bearer != nil {
		if sender = w.bearer.sender(c.Request); sender == nil {
			c.Header("WWW-Authenticate", `Bearer realm="backout"`)
			w.refused.refuseUnread(c, http.StatusUnauthorized, problem{
				"the bearer token is missing or wrong",
				"set http_config.authorization.credentials_file of the Alertmanager receiver to a file with a token of backout's",
			})
			return
		}
	}
	c.Set(senderKey, sender)
}

// senderOf returns the sender of a request; nil if backout does not authenticate senders.
func senderOf(c *gin.Context) *rollback.Sender {
	sender, _ := c.Value(senderKey).(*rollback.Sender)
	return sender
}

// enter waits for room to read a webhook. Without room for a while it answers 503, before a
// byte of the body is read: Alertmanager then posts it again, which it would not after a
// 429.
func (w *webhook) enter(c *gin.Context) {
	size := c.Request.ContentLength
	if size < 0 || size > w.config.MaxBody {
		size = w.config.MaxBody
	}
	size = min(max(size, minReading), maxReading)
	ctx, cancel := context.WithTimeout(c.Request.Context(), roomTimeout)
	defer cancel()
	switch err := w.reading.Acquire(ctx, size); {
	case err == nil:
		defer w.reading.Release(size)
		c.Next()
	case c.Request.Context().Err() == nil:
		c.Header("Retry-After", "1")
		w.refused.refuseUnread(c, http.StatusServiceUnavailable, problem{
			"too many webhooks at once", "post it again; if that is frequent, group alerts by release and look for a sender that floods backout",
		})
	default:
		c.Abort()
	}
}

// decode reads and decodes the body, a few of them at a time.
func (w *webhook) decode(c *gin.Context) (alerts []rollback.Alert, truncated uint64, err error) {
	text, err := readBody(http.MaxBytesReader(c.Writer, c.Request.Body, w.config.MaxBody), min(c.Request.ContentLength, w.config.MaxBody))
	if err != nil {
		return nil, 0, err
	}
	w.decoding <- struct{}{}
	defer func() { <-w.decoding }()
	return decode(text)
}

// readBody reads a body of that size in bytes; -1 if the size is unknown.
func readBody(body io.Reader, size int64) ([]byte, error) {
	var text bytes.Buffer
	if size > 0 {
		text.Grow(int(size) + bytes.MinRead)
	}
	_, err := text.ReadFrom(body)
	return text.Bytes(), err
}

// serveAlerts answers 2xx once every alert is stored or refused, 4xx to a request that
// would fail again, and 5xx to one that Alertmanager should post again: it retries only
// 5xx.
func (w *webhook) serveAlerts(c *gin.Context) {
	alerts, truncated, err := w.decode(c)
	if err != nil {
		code, p := refusal(err)
		if sender := senderOf(c); sender != nil {
			p.Error += "; it came with the " + rollback.Printable(sender.Name)
		}
		w.refused.refuse(c, code, p, err)
		return
	}
	if truncated > 0 {
		w.log.WarnContext(c, "the payload is incomplete; set max_alerts: 0 on the receiver", "count", truncated)
	}
	for i := range alerts {
		alerts[i].Sender = senderOf(c)
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), w.config.StoreTimeout)
	defer cancel()
	if err := w.receiver.Accept(ctx, alerts); err != nil {
		w.log.ErrorContext(c, "alerts not stored; the sender has to post them again", "error", err)
		w.refused.refuse(c, http.StatusServiceUnavailable, problem{
			Error: "the alerts could not be stored", Hint: "post them again, grouped by release; backout's log has the cause",
		}, nil)
		return
	}
	c.JSON(http.StatusOK, gin.H{"received": len(alerts)})
}

// serveNothing answers a request for any other path.
func (w *webhook) serveNothing(c *gin.Context) {
	p := problem{"there is nothing here", "alerts are posted to /api/v1/alerts"}
	if strings.HasSuffix(c.Request.URL.Path, "/api/v2/alerts") {
		p = problem{
			"backout does not have the API v2 of Alertmanager, to which Prometheus, Thanos Ruler and vmalert post alerts",
			"put an Alertmanager in between: name it to the sender, for vmalert with -notifier.url, and point a webhook_config of it to /api/v1/alerts of this address",
		}
	}
	w.refused.refuseUnread(c, http.StatusNotFound, p)
}

// refusal returns the answer to a payload that could not be decoded.
func refusal(err error) (int, problem) {
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return http.StatusRequestEntityTooLarge, problem{
			"the body is larger than BACKOUT_MAX_BODY_BYTES",
			"group alerts by release, or increase BACKOUT_MAX_BODY_BYTES",
		}
	case errors.Is(err, errTooMuch):
		return http.StatusRequestEntityTooLarge, problem{err.Error(), "group alerts by release"}
	case errors.Is(err, os.ErrDeadlineExceeded):
		return http.StatusServiceUnavailable, problem{
			"the body did not arrive within BACKOUT_READ_TIMEOUT", "post it again; a slow network may need a longer limit",
		}
	default:
		return http.StatusBadRequest, problem{
			"not an Alertmanager webhook payload of version 4, nor one of Grafana's webhook contact point: " + err.Error(),
			"point a webhook_config of Alertmanager, or a contact point of Grafana, to this address, without a custom payload",
		}
	}
}
