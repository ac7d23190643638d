package cli

import (
	"github.com/sethvargo/go-envconfig"
	"github.com/spf13/cobra"

	"github.com/upcommerce/backout/internal/serve"
)

// serveCommand returns the command that runs the service.
func serveCommand(env envconfig.Lookuper) *cobra.Command {
	return &cobra.Command{
		Use:   "serve",
		Short: "Receive alerts and act on them (the default)",
		Long: `Receive alerts and act on them, until SIGTERM or SIGINT. BACKOUT_ variables configure it;
docs/configuration.md lists them.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return serve.Run(cmd.Context(), env, cmd.ErrOrStderr())
		},
	}
}
