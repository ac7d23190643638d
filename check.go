package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/upcommerce/backout/rollback"
)

// checkAlert is the name of the alert that check posts.
const checkAlert = "BackoutCheck"

// checkInterval is how often a record is asked for that is not there yet.
const checkInterval = 200 * time.Millisecond

// check tries a backout that serves from outside, as Alertmanager and people meet
// it.
type check struct {
	// webhook and ops are URLs without a path.
	webhook, ops string
	// The files hold a bearer token, the authorities of the webhook's certificate,
	// and a client certificate with its key; "" for none.
	token, ca, cert, key string
	cluster              string
	limit                time.Duration
	client               *http.Client
}

// checkCommand returns the command that `helm test` runs.
func checkCommand() *cobra.Command {
	c := &check{}
	command := &cobra.Command{
		Use:   "check [NAMESPACE/RELEASE]",
		Short: "Post an alert that only asks to observe to a backout that serves, and read its record back",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), c.limit)
			defer cancel()
			return c.run(ctx, cmd.OutOrStdout(), args)
		},
	}
	f := command.Flags()
	f.StringVar(&c.webhook, "webhook", "http://localhost:8080", "URL of the webhook listener, without a path")
	f.StringVar(&c.ops, "ops", "http://localhost:9090", "URL of the ops listener, without a path")
	f.StringVar(&c.token, "token-file", "", "file with the webhook's bearer token")
	f.StringVar(&c.ca, "ca-file", "", "file with the authorities of the webhook's certificate, instead of the system's")
	f.StringVar(&c.cert, "cert-file", "", "file with a client certificate for the webhook")
	f.StringVar(&c.key, "key-file", "", "file with the key of that certificate")
	f.StringVar(&c.cluster, "cluster", "", "the alert's cluster label, as BACKOUT_CLUSTER is set there")
	f.DurationVar(&c.limit, "timeout", 30*time.Second, "limit on all of it")
	return command
}

// run returns an error unless everything works. Without a release it posts an alert
// that is for nobody, which tries all but the record.
func (c *check) run(ctx context.Context, out io.Writer, args []string) error {
	var err error
	if c.client, err = c.newClient(); err != nil {
		return err
	}
	labels := map[string]string{"alertname": checkAlert, "severity": "none"}
	var k rollback.Key
	if len(args) > 0 {
		if k, err = parseKey(args[0]); err != nil {
			return err
		}
		labels["backout"], labels["namespace"], labels["release"] = string(rollback.LevelObserve), k.Namespace, k.Release
	}
	if c.cluster != "" {
		labels["cluster"] = c.cluster
	}
	if _, err := c.get(ctx, "/readyz"); err != nil {
		return err
	}
	fingerprint := strings.ToLower(rand.Text()[:16])
	if err := c.post(ctx, labels, fingerprint); err != nil {
		return err
	}
	if len(args) == 0 {
		if _, err := c.records(ctx, ""); err != nil {
			return err
		}
		_, err = fmt.Fprintln(out, "The webhook takes alerts and the records can be read. That an alert is recorded was not tried: name a release.")
		return err
	}
	r, err := c.await(ctx, k, fingerprint)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, "The alert is recorded: %s\n", r.Summary())
	return err
}

// newClient returns an HTTP client with what the files hold.
func (c *check) newClient() (*http.Client, error) {
	settings := &tls.Config{MinVersion: tls.VersionTLS12}
	if c.ca != "" {
		text, err := os.ReadFile(c.ca)
		if err != nil {
			return nil, fmt.Errorf("read the authorities: %w", err)
		}
		settings.RootCAs = x509.NewCertPool()
		if !settings.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("read the authorities: %s holds no certificate in PEM", c.ca)
		}
	}
	if c.cert != "" {
		pair, err := tls.LoadX509KeyPair(c.cert, c.key)
		if err != nil {
			return nil, fmt.Errorf("read the client certificate: %w; set --cert-file and --key-file", err)
		}
		settings.Certificates = []tls.Certificate{pair}
	}
	return &http.Client{Transport: &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: settings}}, nil
}

// post posts one firing alert as Alertmanager would.
func (c *check) post(ctx context.Context, labels map[string]string, fingerprint string) error {
	body, err := json.Marshal(map[string]any{
		"version": "4", "status": "firing", "receiver": "backout", "groupKey": "{}:{" + checkAlert + "}",
		"groupLabels": map[string]string{}, "commonLabels": labels, "commonAnnotations": map[string]string{},
		"alerts": []map[string]any{{
			"status": "firing", "labels": labels, "fingerprint": fingerprint, "startsAt": time.Now().UTC(),
			"annotations": map[string]string{"summary": "A check of backout itself; nothing is wrong"},
		}},
	})
	if err != nil {
		return fmt.Errorf("encode the alert: %w", err)
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, c.webhook+"/api/v1/alerts", bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("post the alert: %w; set --webhook", err)
	}
	request.Header.Set("Content-Type", "application/json")
	if c.token != "" {
		token, err := os.ReadFile(c.token)
		if err != nil {
			return fmt.Errorf("read the token: %w", err)
		}
		request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	}
	if _, err := c.do(request); err != nil {
		return fmt.Errorf("post the alert: %w", err)
	}
	return nil
}

// await returns the record that has the alert.
func (c *check) await(ctx context.Context, k rollback.Key, fingerprint string) (rollback.Record, error) {
	for {
		records, err := c.records(ctx, "/"+k.Namespace+"/"+k.Release)
		for _, r := range records {
			for _, a := range r.Accusations {
				if a.Fingerprint == fingerprint {
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

// records returns what the ops listener shows below that path. Records that backout
// itself cannot read are an error.
func (c *check) records(ctx context.Context, path string) ([]rollback.Record, error) {
	text, err := c.get(ctx, "/api/v1/records"+path)
	if err != nil {
		return nil, err
	}
	var answer struct {
		Records    []rollback.Record
		Unreadable string
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return nil, fmt.Errorf("read the records: %w", err)
	}
	if answer.Unreadable != "" {
		return answer.Records, fmt.Errorf("read the records: %s", answer.Unreadable)
	}
	return answer.Records, nil
}

// get asks the ops listener.
func (c *check) get(ctx context.Context, path string) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.ops+path, nil)
	if err != nil {
		return nil, fmt.Errorf("ask backout: %w; set --ops", err)
	}
	return c.do(request)
}

// do returns the body of an answer 200; any other is an error.
func (c *check) do(request *http.Request) ([]byte, error) {
	response, err := c.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(io.LimitReader(response.Body, 16<<20))
	if err == nil && response.StatusCode != http.StatusOK {
		err = errors.New(response.Status + ": " + strings.TrimSpace(string(text)))
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", request.Method, request.URL, err)
	}
	return text, nil
}
