// Package router is the users' way into a sandbox: an HTTP reverse proxy that follows Ingresses, HTTPRoutes, Services and
// EndpointSlices by watches, splits requests by their weights, and sends each straight to the IP of a ready pod.
//
// For an Ingress it does what ingress-nginx does: canary-by-header, then canary-by-cookie, then canary-weight; a canary without
// ready pods gets nothing. For an HTTPRoute it does what the Gateway API asks for: a share without ready pods is answered with
// 503. Weights are kept by smooth weighted round robin, so that a split is exact and not merely likely.
//
// Left out: TLS, rewriting, rate limits, affinity, and every filter of an HTTPRoute. A route that asks for what is left out is not
// accepted, and its status says so.
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

// Options say where a router runs. Every field is required.
type Options struct {
	// Config reaches the API server, with the right to read Ingresses, HTTPRoutes, Services, EndpointSlices and
	// CustomResourceDefinitions, and to write the status of HTTPRoutes.
	Config *rest.Config
	// Address is the TCP address to listen on, "10.244.0.1:80".
	Address string
	// Gateway is the Gateway that HTTPRoutes attach to, from any namespace. They are served whether or not it exists.
	Gateway types.NamespacedName
	// Controller is the router's name in the status of HTTPRoutes, "example.com/name".
	Controller string
	Log        *slog.Logger
}

// headerLimit bounds the time a client takes to send its headers.
const headerLimit = 30 * time.Second

// router carries requests by the table that its watch keeps.
type router struct {
	table      atomic.Pointer[table] // nil until the watches have told of everything that is there
	transports transports
	log        *slog.Logger
}

// Run serves until ctx ends, which is no error. Until the first lists are in, the answer is 503. HTTPRoutes are served from the
// moment that the API server knows their kind.
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

// use makes t the table for every request from now on. Requests on their way are not disturbed.
func (r *router) use(t *table) {
	r.table.Store(t)
	r.transports.retain(t.pods)
}
