package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/sethvargo/go-envconfig"
	"github.com/spf13/cobra"

	"github.com/upcommerce/backout/internal/serve"
	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
)

// plan is the command plan. output is "" for a text.
type plan struct {
	access serve.Access
	env    envconfig.Lookuper
	output string
	// file has a webhook's payload; "-" is the standard input, "" is no file.
	file  string
	alert alertFlags
}

func planCommand(env envconfig.Lookuper) *cobra.Command {
	p := &plan{env: env}
	c := &cobra.Command{
		Use:   "plan {NAMESPACE/RELEASE | -f FILE}",
		Short: "Show what an alert would lead to now, and change nothing",
		Long: `Show what an alert would lead to now, and change nothing. plan reads and queries the same as a
running backout, decides in the same way, and tries the rollback's writes as dry runs at the API
server.

The limits and the opted-in releases come from the BACKOUT_ variables of your own environment. plan
prints what it assumed.`,
		Example: `  backout plan canary-demo/canary-demo --level shed --version v3
  backout plan -f webhook.json      # a payload of Alertmanager; - reads standard input`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeReleases(&p.access),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.run(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout(), args)
		},
	}
	own, _ := env.Lookup(serve.Prefix + "NAMESPACE")
	addClusterFlags(c, &p.access)
	addNamespaceFlag(c, &p.access, own)
	addOutputFlag(c, &p.output)
	c.Flags().StringVarP(&p.file, "filename", "f", "", "file with a payload that Alertmanager posted to a webhook; - is standard input")
	p.alert.add(c)
	return c
}

// dryRuns is the results as JSON or YAML.
type dryRuns struct {
	DryRuns []rollback.DryRunResult `json:"dryRuns"`
}

// run prints a result for each release that the alerts name.
func (p *plan) run(ctx context.Context, in io.Reader, out io.Writer, args []string) error {
	alerts, err := p.alerts(in, args)
	if err != nil {
		return err
	}
	s, err := p.settings(ctx, alerts)
	if err != nil {
		return err
	}
	dry, err := newDryEngine(ctx, p.access, s)
	if err != nil {
		return err
	}
	results, err := dry.DryRun(ctx, alerts)
	if err != nil {
		return err
	}
	for i := range results {
		results[i].Assumed = append(results[i].Assumed, s.assumed...)
	}
	if p.output != "" {
		return writeAs(out, p.output, dryRuns{results})
	}
	for i, r := range results {
		if i > 0 {
			fmt.Fprintln(out)
		}
		fmt.Fprint(out, report.DryRun(r))
	}
	return nil
}
