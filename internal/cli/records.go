package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/upcommerce/backout/internal/serve"
	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/ledger"
	"github.com/upcommerce/backout/rollback/report"
)

// records is the command records. output is "" for a table.
type records struct {
	access serve.Access
	output string
	watch  bool
}

func recordsCommand() *cobra.Command {
	l := &records{}
	c := &cobra.Command{
		Use:   "records [NAMESPACE]",
		Short: "List what backout decided and did, newest first",
		Long: `List what backout decided and did, newest first: in a namespace, or in all of them. TO ZERO and
TO ROLLED BACK are the seconds from the receipt of the first alert until the canary's weight was
zero, and until Helm had rolled back.`,
		Example: `  backout records
  backout records canary-demo -w`,
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: completeNamespaces(&l.access),
		RunE: func(cmd *cobra.Command, args []string) error {
			return l.run(cmd.Context(), cmd.OutOrStdout(), strings.Join(args, ""))
		},
	}
	addClusterFlags(c, &l.access)
	addOutputFlag(c, &l.output)
	c.Flags().BoolVarP(&l.watch, "watch", "w", false, "then print a line for every change")
	return c
}

// list is the records as JSON or YAML, as the ops listener serves them.
type list struct {
	Records []rollback.Record `json:"records"`
}

func (l *records) run(ctx context.Context, out io.Writer, namespace string) error {
	if l.watch && l.output != "" {
		return errors.New("-w adds lines to the table: drop -w or -o")
	}
	stored, err := readLedger(l.access, namespace)
	if err != nil {
		return err
	}
	all, err := stored.All(ctx)
	if err != nil && len(all) == 0 {
		return hintNamespace(err)
	}
	if l.output != "" {
		return errors.Join(writeAs(out, l.output, list{append([]rollback.Record{}, all...)}), err)
	}
	if len(all) == 0 && !l.watch {
		fmt.Fprintln(out, "No records: no alert about an opted-in release has arrived.")
		return nil
	}
	// Errors about unreadable records come after the readable ones.
	err = errors.Join(printTable(out, all), err)
	if !l.watch || err != nil {
		return err
	}
	return follow(ctx, out, stored, all)
}

// readLedger returns a ledger that reads one namespace, or all if it is "".
func readLedger(a serve.Access, namespace string) (*ledger.Ledger, error) {
	_, client, err := connect(a)
	if err != nil {
		return nil, err
	}
	return ledger.New(ledger.Options{Client: client, Namespaces: []string{namespace}}), nil
}

// hintNamespace adds a hint to an error about missing rights.
func hintNamespace(err error) error {
	if apierrors.IsForbidden(err) {
		return fmt.Errorf("%w; name a namespace whose ConfigMaps you may list", err)
	}
	return err
}

// heading is the table's first line.
const heading = "AGE\tRELEASE\tREVISION\tVERDICT\tSTATE\tDONE\tTO ZERO\tTO ROLLED BACK"

// printTable prints each record on a line.
func printTable(out io.Writer, all []rollback.Record) error {
	t := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, heading)
	for _, r := range all {
		fmt.Fprintln(t, line(r, time.Now()))
	}
	return t.Flush()
}

// line is the record's line in the table.
func line(r rollback.Record, now time.Time) string {
	return strings.Join([]string{
		duration.HumanDuration(now.Sub(r.Opened)), r.Key.String(), strconv.Itoa(r.Revision),
		string(r.Decision().Verdict), string(report.StateOf(&r)), cmp.Or(report.Action(&r), "-"),
		seconds(r, report.MilestoneZero), seconds(r, report.MilestoneRolledBack),
	}, "\t")
}

// seconds is the time from the receipt of the first alert until the milestone.
func seconds(r rollback.Record, milestone report.MilestoneName) string {
	d, ok := report.TimeTo(&r, milestone)
	if !ok {
		return "-"
	}
	return fmt.Sprintf("%.3fs", d.Seconds())
}

// follow prints a line for every change since the printed records, until ctx ends.
func follow(ctx context.Context, out io.Writer, stored *ledger.Ledger, printed []rollback.Record) error {
	known := make(map[string]bool, len(printed))
	for _, r := range printed {
		known[r.Version] = true
	}
	return stored.Follow(ctx, func(r rollback.Record) {
		if !known[r.Version] {
			fmt.Fprintln(out, strings.ReplaceAll(line(r, time.Now()), "\t", "   "))
		}
	})
}
