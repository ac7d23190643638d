package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/upcommerce/backout/internal/version"
)

// versionCommand returns the command that says which build this is. It needs no cluster
// and no configuration.
func versionCommand() *cobra.Command {
	var output string
	c := &cobra.Command{
		Use:   "version",
		Short: "Print the version, the commit and the Go version of this program",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			build := version.Current()
			if output != "" {
				return writeAs(cmd.OutOrStdout(), output, build)
			}
			fmt.Fprintln(cmd.OutOrStdout(), build)
			return nil
		},
	}
	addOutputFlag(c, &output)
	return c
}
