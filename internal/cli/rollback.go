package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/sethvargo/go-envconfig"
	"github.com/spf13/cobra"

	"github.com/upcommerce/backout/internal/serve"
	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
)

// rollbackOrder is the command rollback.
type rollbackOrder struct {
	access                  serve.Access
	trackLabel              string
	to                      int
	allow                   []string
	hookTimeout, podTimeout time.Duration
}

func rollbackCommand(env envconfig.Lookuper) *cobra.Command {
	r := &rollbackOrder{}
	c := &cobra.Command{
		Use:   "rollback NAMESPACE/RELEASE",
		Short: "Roll a release back as backout does, with the canary's weight at zero meanwhile",
		Long: `Roll a release back under your own Kubernetes rights as backout does for an alert: set the canary's
weight to zero, roll back with Helm behind the same guards, wait until the pods are ready, and give
the canary the weight that its revision declares. It prints each step. helm rollback alone gives the
canary its weight while the bad pods still run.

The target is the newest older revision that was good and has different content, or the one that
--to names. rollback refuses, and changes nothing, if the rollback has a danger that --allow does
not name, if another Helm operation is in progress, if backout is rolling the release back, or if
another tool sets the weight.

A running backout leaves the release alone meanwhile. If the command ends early, the weight stays
zero: run it again, and it goes on.`,
		Example: `  backout rollback canary-demo/canary-demo
  backout rollback canary-demo/canary-demo --to 5 --allow hook`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeReleases(&r.access),
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.run(cmd.Context(), cmd.OutOrStdout(), args[0])
		},
	}
	addManualFlags(c, &r.access, env)
	addTrackFlag(c, &r.trackLabel, env)
	c.Flags().IntVar(&r.to, "to", 0, "revision to roll back to; by default the one that backout would choose")
	c.Flags().StringSliceVar(&r.allow, "allow", nil, "dangers to accept, separated by commas: "+dangerNames())
	c.Flags().DurationVar(&r.hookTimeout, "hook-timeout", 5*time.Minute, "how long each hook of Helm may take")
	c.Flags().DurationVar(&r.podTimeout, "timeout", 10*time.Minute, "how long to wait for the pods")
	return c
}

func dangerNames() string {
	var names []string
	for _, kind := range rollback.AllowableDangers() {
		names = append(names, string(kind))
	}
	return strings.Join(names, ", ")
}

func (r *rollbackOrder) run(ctx context.Context, out io.Writer, name string) error {
	k, err := parseKey(name)
	if err != nil {
		return err
	}
	order := engine.RollbackOrder{
		Key: k, To: r.to, HookTimeout: r.hookTimeout, PodTimeout: r.podTimeout,
		Print: func(line string) { fmt.Fprintln(out, line) },
	}
	if order.Allow, err = allowed(r.allow); err != nil {
		return err
	}
	if r.to < 0 || r.hookTimeout <= 0 || r.podTimeout <= 0 {
		return errors.New("--to wants the number of a revision, --hook-timeout and --timeout a duration above zero, such as 5m")
	}
	m, err := newManual(ctx, r.access, r.trackLabel)
	if err != nil {
		return err
	}
	return hintRelease(m.RollBack(ctx, order))
}

// allowed returns the dangers with these names.
func allowed(names []string) ([]rollback.DangerKind, error) {
	var kinds []rollback.DangerKind
	for _, name := range names {
		if !slices.Contains(rollback.AllowableDangers(), rollback.DangerKind(name)) {
			return nil, fmt.Errorf("--allow %q: want some of %s, separated by commas", name, dangerNames())
		}
		kinds = append(kinds, rollback.DangerKind(name))
	}
	slices.Sort(kinds)
	return slices.Compact(kinds), nil
}
