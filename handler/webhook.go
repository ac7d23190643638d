package handler

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"

	"github.com/gin-gonic/gin"

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
	log     *slog.Logger
}

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
		c.AbortWithStatusJSON(http.StatusUnauthorized, problem{
			"the client certificate has none of the names that are allowed",
			"present another certificate, or add one of its names to BACKOUT_TLS_CLIENT_NAMES",
		})
		return
	}
	if w.bearer != nil {
		if sender = w.bearer.sender(c.Request); sender == nil {
			c.Header("WWW-Authenticate", `Bearer realm="backout"`)
			c.AbortWithStatusJSON(http.StatusUnauthorized, problem{
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

// serveAlerts answers 2xx once every alert is stored or refused, 4xx to a request that
// would fail again, and 5xx to one that Alertmanager should post again: it retries only
// 5xx.
func (w *webhook) serveAlerts(c *gin.Context) {
	body := http.MaxBytesReader(c.Writer, c.Request.Body, w.config.MaxBody)
	alerts, truncated, err := Decode(body)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		c.AbortWithStatusJSON(http.StatusRequestEntityTooLarge, problem{
			"the body is larger than BACKOUT_MAX_BODY_BYTES",
			"group alerts by release, or increase BACKOUT_MAX_BODY_BYTES",
		})
		return
	case errors.Is(err, os.ErrDeadlineExceeded):
		w.log.WarnContext(c, "payload not read in time; the sender has to post it again", "error", err)
		c.AbortWithStatusJSON(http.StatusServiceUnavailable, problem{
			"the body did not arrive within BACKOUT_READ_TIMEOUT", "post it again; a slow network may need a longer limit",
		})
		return
	case err != nil:
		w.log.WarnContext(c, "payload refused", "error", err)
		c.AbortWithStatusJSON(http.StatusBadRequest, problem{
			"not an Alertmanager webhook payload of version 4: " + err.Error(),
			"point a webhook_config of Alertmanager to this address, without a custom payload",
		})
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
		c.AbortWithStatusJSON(http.StatusServiceUnavailable, problem{
			Error: "the alerts could not be stored", Hint: "post them again; backout's log has the cause",
		})
		return
	}
	c.JSON(http.StatusOK, gin.H{"received": len(alerts)})
}
