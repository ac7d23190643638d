// Package router is the entry for users into a sandbox: an HTTP reverse proxy that watches Ingresses, HTTPRoutes, Services and
// EndpointSlices, splits requests by the weights, and sends each directly to the IP of a ready pod.
//
// For an Ingress it does what ingress-nginx does: a cookie of a session with a Service, then canary-by-header, canary-by-cookie and
// canary-weight; a canary without ready pods gets nothing. For an HTTPRoute it does what the Gateway API specifies: a share without ready pods is answered with
// 503. Smooth weighted round robin makes each split exact, not only likely.
//
// TLS, rewriting, rate limits, sessions with a single pod and the filters of an HTTPRoute are not supported. A route that uses them is not accepted,
// and its status says so.
package router

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

// Options configure a router. Every field is required.
type Options struct {
	// Config is for a client that may read Ingresses, HTTPRoutes, Services, EndpointSlices and CustomResourceDefinitions, and
	// write the status of HTTPRoutes.
	Config *rest.Config
	// Address is the TCP address to listen on, "10.244.0.1:80".
	Address string
	// Gateway is the Gateway that HTTPRoutes attach to, from any namespace. They are served whether or not it exists.
	Gateway types.NamespacedName
	// Controller is the router's name in the status of HTTPRoutes, "example.com/name".
	Controller string
	Log        *slog.Logger
}

// headerLimit bounds the time in which a client sends its headers.
const headerLimit = 30 * time.Second

// router forwards requests by the table that its watch updates.
type router struct {
	table      atomic.Pointer[table] // nil until the watches have listed all objects
	transports transports
	log        *slog.Logger
}

// Run serves until ctx ends, and then returns nil. It answers 503 until the watches have listed all objects. HTTPRoutes are served
// as soon as the API server serves their kind.
func Run(ctx context.Context, o Options) error {
	r := &router{log: o.Log}
	w, err := newWatch(o)
	if err != nil {
		return err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", o.Address)
	if err != nil {
		return fmt.Errorf("listen for users: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go w.run(ctx, r.use)

	server := &http.Server{Handler: r, ReadHeaderTimeout: headerLimit, ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug)}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve users: %w", err)
	}
	return nil
}

// use makes t the table of all requests from now on. Requests in progress are not disturbed.
func (r *router) use(t *table) {
	r.table.Store(t)
	r.transports.retain(t.pods)
}
