package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

const (
	// headerTimeout bounds how long a client may take over its request headers.
	headerTimeout = 5 * time.Second
	// idleTimeout is longer than the 60 s for which common routers keep an idle connection, so that the router closes it
	// first and never sends a request on a closing connection.
	idleTimeout = 90 * time.Second
	// finishTimeout bounds how long requests in flight may take after the drain delay.
	finishTimeout = 10 * time.Second
)

// errCrash ends the storefront after CrashAfter.
var errCrash = errors.New("deliberate crash, as set by FAULT_CRASH_AFTER or by crashAfter at /faults")

// serve serves the shop on listener until ctx ends, then drains: /readyz reports not ready, the shop keeps serving for drainDelay
// while routers remove the pod, and serve finishes the requests in flight. It closes listener. It returns an error if the listener
// breaks or if requests are still in flight after finishTimeout, and errCrash, with every connection cut, if a fault requires a
// crash before the drain.
func serve(ctx context.Context, listener net.Listener, shop *Shop, drainDelay time.Duration) error {
	server := &http.Server{Handler: shop, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout}
	broken := make(chan error, 1)
	go func() { broken <- server.Serve(listener) }()

	select {
	case err := <-broken:
		return fmt.Errorf("serve %s: %w", listener.Addr(), err)
	case <-shop.Crashes():
		_ = server.Close() // the process ends anyway
		return errCrash
	case <-ctx.Done():
	}
	shop.Drain()
	time.Sleep(drainDelay)

	finish, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishTimeout)
	defer cancel()
	if err := server.Shutdown(finish); err != nil {
		return fmt.Errorf("finish the requests in flight within %s: %w", finishTimeout, err)
	}
	return nil
}
