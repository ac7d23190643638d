package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/sethvargo/go-envconfig"
	"github.com/spf13/cobra"

	"github.com/upcommerce/backout/internal/serve"
)

// unhold is the command unhold.
type unhold struct {
	access     serve.Access
	trackLabel string
}

func unholdCommand(env envconfig.Lookuper) *cobra.Command {
	u := &unhold{}
	c := &cobra.Command{
		Use:     "unhold NAMESPACE/RELEASE",
		Aliases: []string{"release"},
		Short:   "End a hold: give the canary the weight that the newest revision declares",
		Long: `End a hold, an operator's or backout's own: give the canary the weight that the newest revision
declares. unhold refuses, and changes nothing, while the pods of that revision are not ready, or
while backout or an operator is rolling the release back.`,
		Example:           `  backout unhold canary-demo/canary-demo`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeReleases(&u.access),
		RunE: func(cmd *cobra.Command, args []string) error {
			return u.run(cmd.Context(), cmd.OutOrStdout(), args[0])
		},
	}
	addManualFlags(c, &u.access, env)
	addTrackFlag(c, &u.trackLabel, env)
	return c
}

func (u *unhold) run(ctx context.Context, out io.Writer, name string) error {
	k, err := parseKey(name)
	if err != nil {
		return err
	}
	m, err := newManual(ctx, u.access, u.trackLabel)
	if err != nil {
		return err
	}
	weights, err := m.Unhold(ctx, k)
	if err != nil {
		return hintRelease(err)
	}
	printWeights(out, weights)
	fmt.Fprintf(out, "%s is not held any more.\n", k)
	return nil
}
