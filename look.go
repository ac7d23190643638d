package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/ledger"
)

// looks are what the commands share that only read.
type looks struct {
	access access
	// output is a table if "", or json or yaml.
	output string
	watch  bool
}

// lookCommands returns records and explain.
func lookCommands() []*cobra.Command {
	l := &looks{}
	records := &cobra.Command{
		Use:   "records [NAMESPACE]",
		Short: "List what backout has decided and done, newest first; in all namespaces if none is named",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return l.records(cmd.Context(), cmd.OutOrStdout(), strings.Join(args, ""))
		},
		ValidArgsFunction: namespaceCompletion(&l.access),
	}
	records.Flags().BoolVarP(&l.watch, "watch", "w", false, "go on with a line for every change")
	explain := &cobra.Command{
		Use:   "explain NAMESPACE/RELEASE[/REVISION]",
		Short: "Tell step by step what was decided about a revision, why, and what to do now; about the one accused last if none is named",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return l.explain(cmd.Context(), cmd.OutOrStdout(), args[0])
		},
		ValidArgsFunction: releaseCompletion(&l.access),
	}
	all := []*cobra.Command{records, explain}
	for _, c := range all {
		l.access.register(c)
		c.Flags().StringVarP(&l.output, "output", "o", "", "json or yaml")
		c.PreRunE = func(*cobra.Command, []string) error { return validOutput(l.output) }
	}
	return all
}

// register adds the flags that say which cluster is meant.
func (a *access) register(c *cobra.Command) {
	c.Flags().StringVar(&a.kubeconfig, "kubeconfig", "", "path of the kubeconfig file, as kubectl's")
	c.Flags().StringVar(&a.context, "context", "", "context of the kubeconfig, as kubectl's")
}

func validOutput(output string) error {
	if !slices.Contains([]string{"", "json", "yaml"}, output) {
		return fmt.Errorf("-o %s: want json or yaml", output)
	}
	return nil
}

// write writes what is not a table.
func write(out io.Writer, output string, what any) error {
	var text []byte
	var err error
	if output == "yaml" {
		text, err = yaml.Marshal(what)
	} else {
		text, err = json.MarshalIndent(what, "", "  ")
		text = append(text, '\n')
	}
	if err == nil {
		_, err = out.Write(text)
	}
	return err
}

// ledger returns the ledger of one namespace, of all if that is "".
func (l *looks) ledger(namespace string) (*ledger.Ledger, error) {
	in, err := findCluster(l.access)
	if err != nil {
		return nil, err
	}
	clientset, err := kubernetes.NewForConfig(in.config)
	if err != nil {
		return nil, fmt.Errorf("make a Kubernetes client: %w", err)
	}
	return ledger.New(ledger.Options{Client: clientset, Namespaces: []string{namespace}}), nil
}

// list is how records are printed as JSON and YAML, as the ops listener does.
type list struct {
	Records []rollback.Record `json:"records"`
}

func (l *looks) records(ctx context.Context, out io.Writer, namespace string) error {
	if l.watch && l.output != "" {
		return errors.New("-w prints lines of the table; it does not go with -o")
	}
	book, err := l.ledger(namespace)
	if err != nil {
		return err
	}
	records, err := book.All(ctx)
	if err != nil && len(records) == 0 {
		return readable(err)
	}
	if l.output != "" {
		return errors.Join(write(out, l.output, list{append([]rollback.Record{}, records...)}), err)
	}
	if len(records) == 0 && !l.watch {
		fmt.Fprintln(out, "No records: nothing was accused, or only what is refused.")
		return nil
	}
	// What cannot be read is told after what can.
	err = errors.Join(printTable(out, records), err)
	if !l.watch || err != nil {
		return err
	}
	return follow(ctx, out, book, records)
}

// readable adds what to do about an error that people meet often.
func readable(err error) error {
	if apierrors.IsForbidden(err) {
		return fmt.Errorf("%w; name a namespace whose ConfigMaps you may list", err)
	}
	return err
}

// heading is the table's first line.
const heading = "AGE\tRELEASE\tREVISION\tVERDICT\tSTATE\tDONE\tTO ZERO\tTO ROLLED BACK"

// printTable prints records, each on a line.
func printTable(out io.Writer, records []rollback.Record) error {
	t := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, heading)
	for _, r := range records {
		fmt.Fprintln(t, line(r, time.Now()))
	}
	return t.Flush()
}

// line is one record in the table.
func line(r rollback.Record, now time.Time) string {
	return strings.Join([]string{
		duration.HumanDuration(now.Sub(r.Opened)), r.Key.String(), strconv.Itoa(r.Revision),
		string(r.Decision().Verdict), string(r.State()), cmp.Or(r.Did(), "-"),
		seconds(r, rollback.MomentZero), seconds(r, rollback.MomentRolledBack),
	}, "\t")
}

// seconds is how long after the receipt of the alert a moment came.
func seconds(r rollback.Record, what rollback.MomentKind) string {
	d, ok := r.After(what)
	if !ok {
		return "-"
	}
	return fmt.Sprintf("%.3fs", d.Seconds())
}

// follow prints a line for every change after what was printed.
func follow(ctx context.Context, out io.Writer, book *ledger.Ledger, printed []rollback.Record) error {
	known := make(map[string]bool, len(printed))
	for _, r := range printed {
		known[r.Version] = true
	}
	return book.Follow(ctx, func(r rollback.Record) {
		if !known[r.Version] {
			fmt.Fprintln(out, strings.ReplaceAll(line(r, time.Now()), "\t", "   "))
		}
	})
}

// explain tells one record.
func (l *looks) explain(ctx context.Context, out io.Writer, name string) error {
	k, revision, err := parseRevision(name)
	if err != nil {
		return err
	}
	book, err := l.ledger(k.Namespace)
	if err != nil {
		return err
	}
	records, err := book.Records(ctx, k)
	if err != nil {
		return readable(err)
	}
	// The oldest revision is first, and a release that was installed anew begins at 1.
	slices.SortStableFunc(records, func(a, b rollback.Record) int { return b.Opened.Compare(a.Opened) })
	i := slices.IndexFunc(records, func(r rollback.Record) bool { return revision == 0 || r.Revision == revision })
	if i < 0 {
		return fmt.Errorf("backout has no record about %s: it was never accused, or the record is gone; look with: backout records %s", name, k.Namespace)
	}
	if l.output != "" {
		return write(out, l.output, records[i])
	}
	_, err = fmt.Fprint(out, rollback.Explain(records[i]))
	return err
}

// parseRevision reads NAMESPACE/RELEASE[/REVISION]; the revision is 0 if there is
// none.
func parseRevision(text string) (rollback.Key, int, error) {
	name, number := text, ""
	if parts := strings.Split(text, "/"); len(parts) == 3 {
		name, number = parts[0]+"/"+parts[1], parts[2]
	}
	k, err := parseKey(name)
	if err != nil || number == "" {
		return k, 0, err
	}
	revision, err := strconv.Atoi(number)
	if err != nil || revision < 1 {
		return k, 0, fmt.Errorf("%q: the revision is a whole number from 1, as in canary-demo/canary-demo/2", text)
	}
	return k, revision, nil
}
