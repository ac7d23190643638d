package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/sethvargo/go-envconfig"
	"github.com/spf13/cobra"

	"github.com/upcommerce/backout/internal/serve"
	"github.com/upcommerce/backout/rollback"
)

// hold is the command hold. program is what its hint calls backout.
type hold struct {
	access                      serve.Access
	reason, program, trackLabel string
}

func holdCommand(env envconfig.Lookuper, program string) *cobra.Command {
	h := &hold{program: program}
	c := &cobra.Command{
		Use:   "hold NAMESPACE/RELEASE",
		Short: "Set the canary's weight to zero and keep it there",
		Long: `Set the canary's weight to zero on every route that leads to it, and keep it there.

The hold ends with "unhold", when a revision with a different content is ready, when an operator
gives the canary a weight, or when the release is uninstalled. It is stored in the record of the
newest revision, with your name. hold refuses, and changes nothing, if the release has no canary
route, if no other backend could carry the traffic, if another tool sets the weight, or if backout
or an operator is rolling the release back.`,
		Example:           `  backout hold canary-demo/canary-demo --reason "errors in the log"`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeReleases(&h.access),
		RunE: func(cmd *cobra.Command, args []string) error {
			return h.run(cmd.Context(), cmd.OutOrStdout(), args[0])
		},
	}
	addManualFlags(c, &h.access, env)
	addTrackFlag(c, &h.trackLabel, env)
	addReasonFlag(c, &h.reason)
	return c
}

// addReasonFlag adds the flag for the reason that is stored with the operator's name.
func addReasonFlag(c *cobra.Command, reason *string) {
	c.Flags().StringVar(reason, "reason", "", "why; stored with your name")
}

func (h *hold) run(ctx context.Context, out io.Writer, name string) error {
	k, err := parseKey(name)
	if err != nil {
		return err
	}
	m, err := newManual(ctx, h.access, h.trackLabel)
	if err != nil {
		return err
	}
	record, err := m.Hold(ctx, k, h.reason)
	if err != nil {
		return hintRelease(err)
	}
	printWeights(out, record.Weights)
	if record.Shed != nil && record.Shed.Note != "" {
		fmt.Fprintf(out, "%s\n", record.Shed.Note)
	}
	fmt.Fprintf(out, "Revision %d of %s is held. To end the hold: %s\n", record.Revision, k, rollback.BackoutCommand(h.program, "unhold", k.String()).WithTrack(m.track.Option()))
	return nil
}
