// Command storefront is UpCommerce's storefront, the demo shop that backout's examples and tests deploy; it is not part of backout.
// It serves one page with its version, and the metrics of its requests. The chart canary-demo deploys it twice, as the stable track
// and as the canary.
package main

import (
	"context"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"strconv"
	"syscall"

	"github.com/sethvargo/go-envconfig"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	// The first signal restores the default action, so that a second one ends a drain that takes too long.
	context.AfterFunc(ctx, stop)

	log := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	if err := run(ctx, log, envconfig.OsLookuper()); err != nil {
		log.Error("storefront failed", "error", err)
		os.Exit(1)
	}
}

// run reads the configuration from env and serves the storefront on every interface until ctx ends and the drain is over.
// It returns all errors of the configuration at once, errors of listening, of a drain that does not finish, and errCrash.
func run(ctx context.Context, log *slog.Logger, env envconfig.Lookuper) error {
	config, err := readConfig(ctx, env)
	if err != nil {
		return err
	}
	shop, err := NewShop(log, config)
	if err != nil {
		return err
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort("", strconv.Itoa(config.Port)))
	if err != nil {
		return err
	}
	log.InfoContext(ctx, "storefront listening", "address", listener.Addr().String())
	if config.Faults != (Faults{}) || config.FaultsAdmin {
		log.WarnContext(ctx, "faults enabled", "faults", config.Faults, "admin", config.FaultsAdmin)
	}
	if err := serve(ctx, listener, shop, config.DrainDelay); err != nil {
		return err
	}
	log.InfoContext(ctx, "storefront drained")
	return nil
}
