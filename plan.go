package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"reflect"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sethvargo/go-envconfig"
	"github.com/spf13/cobra"
	"k8s.io/client-go/kubernetes"

	"github.com/upcommerce/backout/handler"
	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/helm"
	"github.com/upcommerce/backout/rollback/ledger"
	"github.com/upcommerce/backout/rollback/prom"
	"github.com/upcommerce/backout/rollback/traffic"
)

// planning is the command plan.
type planning struct {
	access access
	env    envconfig.Lookuper
	output string
	// file is a webhook's payload; "-" is the standard input.
	file  string
	alert alertFlags
}

// alertFlags make up an alert.
type alertFlags struct {
	name, level, version string
	revision             int
	firing               time.Duration
}

func planCommand(env envconfig.Lookuper) *cobra.Command {
	p := &planning{env: env}
	c := &cobra.Command{
		Use:   "plan {NAMESPACE/RELEASE | -f FILE}",
		Short: "Tell what backout would do now about an alert, and do nothing",
		Long: `Tell what backout would do now about an alert, and do nothing. It reads and asks what a backout that serves would, and decides in the same way.
Limits and opted-in releases come from the BACKOUT_ variables of your own environment; what is assumed for want of them is said.`,
		Example: `  backout plan canary-demo/canary-demo --level rollback --version v3
  backout plan -f webhook.json      # what Alertmanager posted; - reads it from the standard input`,
		Args:    cobra.MaximumNArgs(1),
		PreRunE: func(*cobra.Command, []string) error { return validOutput(p.output) },
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.run(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout(), args)
		},
		ValidArgsFunction: releaseCompletion(&p.access),
	}
	own, _ := env.Lookup(prefix + "NAMESPACE")
	p.access.register(c)
	c.Flags().StringVar(&p.access.namespace, "backout-namespace", own, "namespace that backout itself runs in")
	c.Flags().StringVarP(&p.output, "output", "o", "", "json or yaml")
	c.Flags().StringVarP(&p.file, "filename", "f", "", "file with a webhook's payload, as Alertmanager posts it; - is the standard input")
	c.Flags().StringVar(&p.alert.name, "alert", "", "the alert's name: with it Prometheus is asked whether it fires, if BACKOUT_PROMETHEUS_URLS is set")
	c.Flags().StringVar(&p.alert.level, "level", string(rollback.LevelRollback), "what the alert asks for: rollback, shed or observe")
	c.Flags().StringVar(&p.alert.version, "version", "", "version label of the alert")
	c.Flags().IntVar(&p.alert.revision, "revision", 0, "revision label of the alert")
	c.Flags().DurationVar(&p.alert.firing, "firing-for", 0, "since how long the alert fires")
	return c
}

// run prints one forecast for each release that the alerts name.
func (p *planning) run(ctx context.Context, in io.Reader, out io.Writer, args []string) error {
	alerts, err := p.alerts(in, args)
	if err != nil {
		return err
	}
	policy, questions, assumed, err := p.settings(ctx, alerts)
	if err != nil {
		return err
	}
	if p.file == "" && p.alert.name == "" {
		questions.URLs = nil // there is no alert to ask about
	}
	engine, err := p.engine(ctx, policy, questions)
	if err != nil {
		return err
	}
	forecasts, err := engine.Foresee(ctx, alerts)
	if err != nil {
		return err
	}
	for i := range forecasts {
		forecasts[i].Assumed = append(forecasts[i].Assumed, assumed...)
	}
	if p.output != "" {
		return write(out, p.output, map[string]any{"forecasts": forecasts})
	}
	for i, f := range forecasts {
		if i > 0 {
			fmt.Fprintln(out)
		}
		fmt.Fprint(out, f)
	}
	return nil
}

// alerts reads those of the file, or makes one up from the flags.
func (p *planning) alerts(in io.Reader, args []string) ([]rollback.Alert, error) {
	switch {
	case p.file == "" && len(args) == 0:
		return nil, errors.New("want NAMESPACE/RELEASE, or -f with what Alertmanager posted")
	case p.file != "" && len(args) > 0:
		return nil, errors.New("-f says already which releases are meant: drop NAMESPACE/RELEASE")
	case p.file == "":
		k, err := parseKey(args[0])
		return []rollback.Alert{p.alert.made(k)}, err
	}
	if p.file != "-" {
		file, err := os.Open(p.file)
		if err != nil {
			return nil, err
		}
		defer func() { _ = file.Close() }()
		in = file
	}
	alerts, _, err := handler.Decode(in)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w; want the JSON that Alertmanager posts to a webhook", p.file, err)
	}
	return alerts, nil
}

// made is the alert that the flags describe.
func (f alertFlags) made(k rollback.Key) rollback.Alert {
	labels := map[string]string{
		"alertname": cmp.Or(f.name, "plan"), "namespace": k.Namespace, "release": k.Release, "backout": f.level,
	}
	if f.version != "" {
		labels["version"] = f.version
	}
	if f.revision != 0 {
		labels["revision"] = strconv.Itoa(f.revision)
	}
	return rollback.Alert{Labels: labels, Fingerprint: "plan", StartsAt: time.Now().Add(-f.firing)}
}

// settings reads the policy as the service does. Where nothing is opted in the
// alerts' releases are taken to be, and their cluster to be this one: otherwise
// every answer would be no.
func (p *planning) settings(ctx context.Context, alerts []rollback.Alert) (rollback.Policy, prom.Config, []string, error) {
	var c struct {
		Policy     rollback.Policy
		Prometheus prom.Config
	}
	var errs []error
	set := false
	for _, f := range fields(reflect.ValueOf(&c).Elem()) {
		if _, ok := p.env.Lookup(f.name); ok {
			set = true
		}
		errs = append(errs, f.read(ctx, p.env))
	}
	var assumed []string
	if !set {
		assumed = append(assumed, "the default limits: no BACKOUT_ variable is set here; a backout that serves may have others")
	}
	if len(c.Policy.Releases) == 0 {
		assumed = append(assumed, "that the release is opted in: BACKOUT_RELEASES is not set here")
		for _, a := range alerts {
			if k, _, err := a.Read(time.Now()); err == nil {
				c.Policy.Releases = append(c.Policy.Releases, k.String())
			}
		}
	}
	if p.file == "" && c.Policy.Cluster != "" {
		for _, a := range alerts {
			a.Labels["cluster"] = c.Policy.Cluster
		}
	}
	if err := errors.Join(errs...); err != nil {
		return c.Policy, c.Prometheus, nil, fmt.Errorf("the environment is not right:\n%w", err)
	}
	return c.Policy, c.Prometheus, append(assumed, "that no other releases are accused but those whose records you can read"), nil
}

// engine returns one that works under the caller's rights and is never run.
func (p *planning) engine(ctx context.Context, policy rollback.Policy, questions prom.Config) (*rollback.Engine, error) {
	in, err := findCluster(p.access)
	if err != nil {
		return nil, err
	}
	clientset, err := kubernetes.NewForConfig(in.config)
	if err != nil {
		return nil, fmt.Errorf("make a Kubernetes client: %w", err)
	}
	quiet := slog.New(slog.DiscardHandler)
	options := rollback.Options{Policy: policy, Registerer: prometheus.NewRegistry(), Log: quiet, Leads: neverWrites}
	if options.Releases, err = helm.New(helm.Options{Config: in.config, Fence: neverWrites, Log: quiet}); err != nil {
		return nil, err
	}
	if options.Traffic, err = traffic.New(traffic.Options{Config: in.config, Fence: neverWrites}); err != nil {
		return nil, err
	}
	book := ledger.New(ledger.Options{Client: clientset, Namespaces: policy.Namespaces(), Own: in.namespace, Log: quiet})
	options.Ledger = book
	if len(questions.URLs) > 0 {
		if options.Prometheus, err = prom.New(prom.Options{Config: questions}); err != nil {
			return nil, err
		}
	}
	engine, err := rollback.New(options)
	if err != nil {
		return nil, err
	}
	// What cannot be read makes no storm.
	records, _ := book.All(ctx)
	for _, r := range records {
		engine.Notice(r)
	}
	return engine, nil
}

// errPlans is why nothing is written.
var errPlans = errors.New("a plan writes nothing")

func neverWrites() error { return errPlans }
