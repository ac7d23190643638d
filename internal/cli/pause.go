package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/sethvargo/go-envconfig"
	"github.com/spf13/cobra"

	"github.com/upcommerce/backout/internal/serve"
	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/ledger"
)

// pause is the commands pause and resume. program is what its hint calls backout.
type pause struct {
	access          serve.Access
	reason, program string
	// lasts is how long the pause lasts, 0 until it is ended.
	lasts time.Duration
}

func pauseCommand(env envconfig.Lookuper, program string) *cobra.Command {
	p := &pause{program: program}
	c := &cobra.Command{
		Use:   "pause [NAMESPACE[/RELEASE]]",
		Short: "Make backout leave a release, a namespace or everything alone",
		Long: `Make backout leave a release, a namespace or, without an argument, everything alone. It takes no
step and keeps holds as they are; it still records alerts, with the verdict paused. With --for the
pause ends by itself.`,
		Example: `  backout pause canary-demo/canary-demo --for 2h --reason "load test"
  backout pause canary-demo
  backout pause`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeReleases(&p.access),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.begin(cmd.Context(), cmd.OutOrStdout(), args)
		},
	}
	addManualFlags(c, &p.access, env)
	addReasonFlag(c, &p.reason)
	c.Flags().DurationVar(&p.lasts, "for", 0, "how long, such as 2h; by default until it is ended")
	return c
}

func resumeCommand(env envconfig.Lookuper) *cobra.Command {
	p := &pause{}
	c := &cobra.Command{
		Use:   "resume [NAMESPACE[/RELEASE]]",
		Short: "End a pause",
		Long: `End the pause of a release, of a namespace or, without an argument, of everything. Wider and
narrower pauses stay. backout acts on an alert that came during the pause when Alertmanager repeats
it.`,
		Example:           `  backout resume canary-demo/canary-demo`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeReleases(&p.access),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.end(cmd.Context(), cmd.OutOrStdout(), args)
		},
	}
	addManualFlags(c, &p.access, env)
	return c
}

func (p *pause) begin(ctx context.Context, out io.Writer, args []string) error {
	scope, err := parseScope(args)
	if err != nil {
		return err
	}
	if p.lasts < 0 {
		return fmt.Errorf("--for %s: want a duration above zero, such as 2h", p.lasts)
	}
	m, err := newManual(ctx, p.access, "")
	if err != nil {
		return err
	}
	now := time.Now()
	if err := m.ledger.Pause(ctx, scope, ledger.PauseNote(now, p.lasts, m.Operator, p.reason)); err != nil {
		return err
	}
	until := ""
	if p.lasts > 0 {
		until = " until " + now.UTC().Add(p.lasts).Format(time.RFC3339)
	}
	fmt.Fprintf(out, "%s is paused%s. To end the pause: %s\n", scope, until, rollback.BackoutCommand(p.program, "resume", strings.Join(args, "")))
	return nil
}

func (p *pause) end(ctx context.Context, out io.Writer, args []string) error {
	scope, err := parseScope(args)
	if err != nil {
		return err
	}
	m, err := newManual(ctx, p.access, "")
	if err != nil {
		return err
	}
	ended, err := m.ledger.Resume(ctx, scope)
	if err != nil {
		return err
	}
	text := "was not paused"
	if ended {
		text = "is not paused any more"
	}
	fmt.Fprintf(out, "%s %s.\n", scope, text)
	return nil
}
