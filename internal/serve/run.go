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
	return serveTargets(ctx, c, in, newMarks(in.Namespace, c.Policy.Namespaces()), newLogger(c.Log, out))
}

// serveTargets serves the targets that no other installation serves, and reads at each interval
// which these are. Where that changes, a new service goes on: no part of it watches, reads or
// writes anything in a target that is left out but the mark.
func serveTargets(ctx context.Context, c config, in Cluster, m *marks, log *slog.Logger) error {
	records, err := newMarkLedger(in, accounts{own: in.Namespace, names: c.TargetAccounts})
	if err != nil {
		return err
	}
	known := make(elsewhere)
	for {
		now, unmarked := m.read(ctx, records, known)
		if unmarked != nil {
			log.ErrorContext(ctx, "the targets are not marked yet as served by this backout", "error", unmarked)
		}
		now.logChanges(ctx, log, known)
		known = now
		s, err := newService(known.leaveOut(c), in, log)
		if err != nil {
			return err
		}
		s.leave(maps.Clone(known))
		s.marks, s.unmarked = m, unmarked != nil
		if err := s.serve(ctx); !errors.Is(err, errMarksChanged) {
			return err
		}
		s.found.logChanges(ctx, log, known)
		known = s.found
	}
}

func newLogger(c logConfig, out io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.Level}
	if c.Format == "text" {
		return slog.New(slog.NewTextHandler(out, options))
	}
	return slog.New(slog.NewJSONHandler(out, options))
}
