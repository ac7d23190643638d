package cli

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/report"
)

// checkAlert is the name of the alert that check posts.
const checkAlert = "BackoutCheck"

// checkInterval is the time between two reads of a record that does not exist yet.
const checkInterval = 200 * time.Millisecond

// check is the command check. It tests a running backout from outside, as Alertmanager
// and operators use it.
type check struct {
	server  endpoint
	cluster string
	limit   time.Duration
}

// checkCommand returns the command that `helm test` runs.
func checkCommand() *cobra.Command {
	c := &check{}
	command := &cobra.Command{
		Use:   "check [NAMESPACE/RELEASE]",
		Short: "Test a running backout: post an alert that only asks to observe, and read its record",
		Long: `Test a running backout: post an alert that only asks to observe, and read its record. Without a
release, the alert is not for backout: this tests the webhook, the token and the ops listener, but
writes no record.`,
		Example: `  backout check canary-demo/canary-demo --token-file token
  backout check --webhook https://backout.example --ca-file ca.crt --token-file token
  kubectl create token prometheus -n monitoring > ops-token
  backout check --token-file token --ops-token-file ops-token`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), c.limit)
			defer cancel()
			return c.run(ctx, cmd.OutOrStdout(), args)
		},
	}
	f := command.Flags()
	f.StringVar(&c.server.webhook, "webhook", "http://localhost:8080", "URL of the webhook listener, without a path")
	f.StringVar(&c.server.ops, "ops", "http://localhost:9090", "URL of the ops listener, without a path")
	f.StringVar(&c.server.token, "token-file", "", "file with the webhook's bearer token")
	f.StringVar(&c.server.opsToken, "ops-token-file", "",
		"file with a bearer token for the ops listener, of an account that may get the nonResourceURL /backout/*: needed with BACKOUT_OPS_AUTH=kubernetes")
	f.StringVar(&c.server.ca, "ca-file", "", "file with the CAs of the webhook's certificate, instead of the system's CAs")
	f.StringVar(&c.server.cert, "cert-file", "", "file with a client certificate for the webhook")
	f.StringVar(&c.server.key, "key-file", "", "file with the key of the client certificate")
	f.StringVar(&c.cluster, "cluster", "", "the alert's cluster label: the server's BACKOUT_CLUSTER")
	f.DurationVar(&c.limit, "timeout", 30*time.Second, "limit on the whole check")
	return command
}

// run returns an error unless everything works. Without a release it posts an alert that
// is not for backout, which tests everything but the record.
func (c *check) run(ctx context.Context, out io.Writer, args []string) error {
	if err := c.server.connect(); err != nil {
		return err
	}
	labels := map[string]string{"alertname": checkAlert, "severity": "none"}
	var k rollback.Key
	if len(args) > 0 {
		var err error
		if k, err = parseKey(args[0]); err != nil {
			return err
		}
		labels["backout"], labels["namespace"], labels["release"] = string(rollback.LevelObserve), k.Namespace, k.Release
	}
	if c.cluster != "" {
		labels["cluster"] = c.cluster
	}
	if _, err := c.server.get(ctx, "/readyz"); err != nil {
		return err
	}
	fingerprint := strings.ToLower(rand.Text()[:16])
	if err := c.server.post(ctx, labels, fingerprint); err != nil {
		return err
	}
	if len(args) == 0 {
		if _, err := c.server.records(ctx, ""); err != nil {
			return err
		}
		fmt.Fprintln(out, "The webhook accepts alerts, and the records can be read. To check that an alert is recorded, name a release.")
		return nil
	}
	r, err := c.awaitRecord(ctx, k, fingerprint)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "The alert is recorded: %s\n", report.Summary(&r))
	return nil
}

// awaitRecord returns the record that has the alert.
func (c *check) awaitRecord(ctx context.Context, k rollback.Key, fingerprint string) (rollback.Record, error) {
	for {
		records, err := c.server.records(ctx, "/"+k.Namespace+"/"+k.Release)
		if errors.Is(err, errRefused) {
			return rollback.Record{}, err
		}
		for _, r := range records {
			for _, s := range r.Signals {
				if s.Fingerprint == fingerprint {
					return r, nil
				}
			}
		}
		select {
		case <-ctx.Done():
			return rollback.Record{}, fmt.Errorf("wait for a record of %s with the alert: %w; is the release installed and opted in? backout's log has the verdict",
				k, cmp.Or(err, ctx.Err()))
		case <-time.After(checkInterval):
		}
	}
}
