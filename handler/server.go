package handler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/parallel"
	"github.com/upcommerce/backout/rollback/report"
)

// Options are the parts of a Server. All but Allows, Board, Mode, Problems and Log are
// required.
type Options struct {
	Config   Config
	Receiver Receiver
	Reader   Reader
	// Allows reports whether a release is opted in: the ops listener shows only those.
	// Nil allows every one.
	Allows func(rollback.Key) bool
	// Board is what the status page shows; an empty one if nil.
	Board Board
	// Mode is the policy's; the page says so if backout only observes.
	Mode rollback.Mode
	// Ready returns nil if backout can do its work now; /readyz shows its error.
	Ready func(context.Context) error
	// Problems returns what backout cannot do although it is ready, a sentence each; /readyz
	// and the status page show it. It sends no request. With nil, nothing is shown.
	Problems func() []string
	// OpsAccess returns nil if the user of a bearer token may get a path of the ops listener,
	// ErrUnauthenticated or ErrForbidden. It is required with OpsAuthKubernetes.
	OpsAccess func(ctx context.Context, token, path string) error
	Registry  *prometheus.Registry
	// Log is slog.Default if nil.
	Log *slog.Logger
}

// setDefaults replaces the optional parts that are missing.
func (o *Options) setDefaults() {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Board == nil {
		o.Board = report.NewBoard()
	}
	if o.Problems == nil {
		o.Problems = func() []string { return nil }
	}
	if o.Allows == nil {
		o.Allows = func(rollback.Key) bool { return true }
	}
}

// Server is the webhook listener and the ops listener.
type Server struct {
	webhook, ops *http.Server
	log          *slog.Logger
}

// New returns a server that does not listen yet. It reads the token and the certificates
// once; if one cannot be used, its error names the file.
func New(o Options) (*Server, error) {
	if err := o.Config.Validate(); err != nil {
		return nil, err
	}
	o.setDefaults()
	o.Reader = newSharedReader(newRecordReader(o.Reader, o.Allows))
	w := &webhook{
		config: o.Config, receiver: o.Receiver, metrics: newMetrics(o.Registry), refused: &refused{log: o.Log},
		reading: semaphore.NewWeighted(maxReading), decoding: make(chan struct{}, maxDecoding), log: o.Log,
	}
	if o.Config.Auth == AuthBearer {
		var err error
		if w.bearer, err = newBearer(o.Config.Tokens, o.Log); err != nil {
			return nil, fmt.Errorf("BACKOUT_TOKENS: %w", err)
		}
	}
	tlsConfig, err := newTLS(o.Config, o.Log)
	if err != nil {
		return nil, fmt.Errorf("BACKOUT_TLS_CERT_FILE, BACKOUT_TLS_KEY_FILE, BACKOUT_TLS_CLIENT_CA_FILE: %w", err)
	}
	hookConnections, readConnections := newConnections(), newConnections()
	hooks := newRouter(o.Log, w.metrics.measure)
	hooks.NoRoute(w.serveNothing)
	hooks.POST("/api/v1/alerts", w.authenticate, hookConnections.admit, w.enter, w.serveAlerts)
	// No request of a reader keeps its connection from being closed for a new one, which may
	// be that of a probe.
	reads := newRouter(o.Log, leaveBody)
	if o.Config.OpsAuth == OpsAuthKubernetes {
		reads.Use(opsAccess{o.OpsAccess}.check)
	}
	(&ops{
		reader: o.Reader, board: o.Board, gatherer: o.Registry, ready: &sharedCheck{check: o.Ready}, problems: o.Problems,
		lists: make(chan struct{}, maxLists), log: o.Log,
	}).register(reads)
	pages, err := newPages(o)
	if err != nil {
		return nil, err
	}
	pages.register(reads)

	s := &Server{log: o.Log}
	s.webhook = s.newServer(o.Config, hooks, hookConnections)
	s.webhook.TLSConfig = tlsConfig
	s.ops = s.newServer(o.Config, reads, readConnections)
	s.ops.RegisterOnShutdown(sync.OnceFunc(func() { close(pages.stream.closing) }))
	return s, nil
}

func (s *Server) newServer(c Config, h http.Handler, open *connections) *http.Server {
	return &http.Server{
		Handler: h, ReadTimeout: c.ReadTimeout, ReadHeaderTimeout: c.ReadTimeout,
		WriteTimeout: c.ReadTimeout + c.StoreTimeout + 5*time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 16 << 10, ConnState: open.changed, ConnContext: open.context,
		ErrorLog: slog.NewLogLogger(&connectionErrors{Handler: s.log.Handler(), log: s.log}, slog.LevelWarn),
	}
}

// newRouter returns a gin engine without gin's own logging. It answers a panic with 500,
// so that Alertmanager posts again. The outer handlers see that answer too.
func newRouter(log *slog.Logger, outer ...gin.HandlerFunc) *gin.Engine {
	gin.SetMode(gin.ReleaseMode)
	r := gin.New()
	r.HandleMethodNotAllowed = true
	r.ContextWithFallback = true
	r.Use(outer...)
	r.Use(gin.CustomRecoveryWithWriter(nil, func(c *gin.Context, cause any) {
		log.ErrorContext(c, "request not answered", "error", parallel.Of(cause))
		c.AbortWithStatus(http.StatusInternalServerError)
	}))
	return r
}

// Handler returns the webhook listener's handler.
func (s *Server) Handler() http.Handler { return s.webhook.Handler }

// OpsHandler returns the ops listener's handler.
func (s *Server) OpsHandler() http.Handler { return s.ops.Handler }

// Serve answers on both listeners until Shutdown, and closes them. It returns the first
// error other than the shutdown.
func (s *Server) Serve(webhook, ops net.Listener) error {
	errs := make(chan error, 2)
	go func() {
		if s.webhook.TLSConfig != nil {
			errs <- s.webhook.ServeTLS(webhook, "", "")
			return
		}
		errs <- s.webhook.Serve(webhook)
	}()
	go func() { errs <- s.ops.Serve(ops) }()
	err := <-errs
	if !errors.Is(err, http.ErrServerClosed) {
		_ = s.webhook.Close()
		_ = s.ops.Close()
		_ = <-errs // of the other listener, which has just been closed
		return err
	}
	if err := <-errs; !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Shutdown stops listening and waits until the requests in progress are answered or ctx
// ends. The ops listener closes last, so that health checks are answered meanwhile.
func (s *Server) Shutdown(ctx context.Context) error {
	return errors.Join(s.webhook.Shutdown(ctx), s.ops.Shutdown(ctx))
}
