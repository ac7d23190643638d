package serve

import (
	"context"
	"fmt"
	"io"
	"log/slog"

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
	s, err := newService(c, in, newLogger(c.Log, out))
	if err != nil {
		return err
	}
	return s.serve(ctx)
}

func newLogger(c logConfig, out io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: c.Level}
	if c.Format == "text" {
		return slog.New(slog.NewTextHandler(out, options))
	}
	return slog.New(slog.NewJSONHandler(out, options))
}
