package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"

	"github.com/sethvargo/go-envconfig"
)

// Run serves until ctx ends, then finishes the current work within the grace period. It
// reads its configuration from env and logs to out.
func Run(ctx context.Context, env envconfig.Lookuper, out io.Writer) error {
	c, err := loadConfig(ctx, env)
	if err != nil {
		return fmt.Errorf("read the configuration from the environment:\n%w", err)
	}
	in, err := FindCluster(Access{Namespace: c.Namespace})
	if err != nil {
		return err
	}
	return serveTargets(ctx, c, in, newLogger(c.Log, out))
}

// serveTargets serves the targets that no other installation serves. Where it turns out later
// that another one does, a new service goes on without that target: no part of it watches,
// reads or writes anything there.
func serveTargets(ctx context.Context, c config, in Cluster, log *slog.Logger) error {
	known := make(elsewhere) // one that was found stays, also if the API server does not answer later
	for {
		others, unmarked := markTargets(ctx, in, accounts{own: in.Namespace, names: c.TargetAccounts}, known.leaveOut(c).Policy.Namespaces())
		maps.Copy(known, others)
		if unmarked != nil {
			log.ErrorContext(ctx, "the targets are not marked yet as served by this backout", "error", unmarked)
		}
		others.log(ctx, log)
		s, err := newService(known.leaveOut(c), in, log)
		if err != nil {
			return err
		}
		s.leave(maps.Clone(known))
		s.unmarked = unmarked != nil
		if err := s.serve(ctx); !errors.Is(err, errServedElsewhere) {
			return err
		}
		s.found.log(ctx, log)
		maps.Copy(known, s.found)
	}
}

func newLogger(c logConfig, out io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.Level}
	if c.Format == "text" {
		return slog.New(slog.NewTextHandler(out, options))
	}
	return slog.New(slog.NewJSONHandler(out, options))
}
