package cli

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/upcommerce/backout/internal/serve"
	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
)

// explain is the command explain. output is "" for a text.
type explain struct {
	access serve.Access
	output string
}

func explainCommand() *cobra.Command {
	e := &explain{}
	c := &cobra.Command{
		Use:   "explain NAMESPACE/RELEASE[/REVISION]",
		Short: "Explain a decision: the alerts, checks and steps, and the command to run now",
		Long: `Explain what backout decided about a revision and why: the alerts, the checks and their results,
the revisions that it considered, each step, and the command to run now. Without a revision, it
explains the newest record of the release.`,
		Example: `  backout explain canary-demo/canary-demo
  backout explain canary-demo/canary-demo/2 -o yaml`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: completeReleases(&e.access),
		RunE: func(cmd *cobra.Command, args []string) error {
			return e.run(cmd.Context(), cmd.OutOrStdout(), args[0])
		},
	}
	addClusterFlags(c, &e.access)
	addOutputFlag(c, &e.output)
	return c
}

func (e *explain) run(ctx context.Context, out io.Writer, name string) error {
	k, revision, err := parseRevision(name)
	if err != nil {
		return err
	}
	stored, err := readLedger(e.access, k.Namespace)
	if err != nil {
		return err
	}
	all, err := stored.Records(ctx, k, rollback.Stored)
	if err != nil {
		return hintNamespace(err)
	}
	// Not by revision: a release that is installed again begins at 1.
	slices.SortStableFunc(all, func(a, b rollback.Record) int { return b.Opened.Compare(a.Opened) })
	i := slices.IndexFunc(all, func(r rollback.Record) bool { return revision == 0 || r.Revision == revision })
	if i < 0 {
		return fmt.Errorf("backout has no record about %s: no alert about it has arrived, or the record was deleted; list the records with: %s",
			name, rollback.BackoutCommand("backout", "records", k.Namespace))
	}
	if e.output != "" {
		return writeAs(out, e.output, all[i])
	}
	fmt.Fprint(out, report.Explain(all[i]))
	return nil
}
