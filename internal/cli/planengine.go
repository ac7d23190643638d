package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/upcommerce/backout/internal/serve"
	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/helm"
	"github.com/upcommerce/backout/rollback/ledger"
	"github.com/upcommerce/backout/rollback/prom"
	"github.com/upcommerce/backout/rollback/traffic"
)

// planSettings is the configuration of a plan, and what it assumes.
type planSettings struct {
	policy     rollback.Policy
	prometheus prom.Config
	grafana    prom.GrafanaConfig
	storages   []rollback.Storage
	assumed    []string
}

// settings reads the policy as the service does. Without BACKOUT_RELEASES it opts the
// alerts' releases in, and an alert from flags gets the cluster's name as its label:
// otherwise backout would refuse every alert.
func (p *plan) settings(ctx context.Context, alerts []rollback.Alert) (planSettings, error) {
	var c struct {
		Policy     rollback.Policy
		Prometheus prom.Config
		Grafana    prom.GrafanaConfig
		Helm       serve.HelmConfig
	}
	set, err := serve.ReadVariables(ctx, p.env, &c)
	if err != nil {
		return planSettings{}, fmt.Errorf("read the limits from the environment:\n%w", err)
	}
	storages, err := c.Helm.Storages()
	if err != nil {
		return planSettings{}, err
	}
	var assumed []string
	if !set {
		assumed = append(assumed, "the default limits: no BACKOUT_ variable is set here; a running backout may have others")
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
	if p.file == "" && p.alert.name == "" {
		c.Prometheus.URLs, c.Grafana.URLs = nil, nil // there is no alert to query
	}
	if len(c.Grafana.URLs) > 0 && confirmedByGrafana(alerts) {
		assumed = append(assumed, "that the token of Grafana says so: NAMESPACE:FILE:grafana in BACKOUT_TOKENS")
	}
	assumed = append(assumed, "that only releases whose records you can read have signals")
	return planSettings{policy: c.Policy, prometheus: c.Prometheus, grafana: c.Grafana, storages: storages, assumed: assumed}, nil
}

// confirmedByGrafana gives alerts that Grafana posts the sender that Grafana should have. It reports
// whether there are any.
func confirmedByGrafana(alerts []rollback.Alert) bool {
	found := false
	for i := range alerts {
		if alerts[i].OfGrafana {
			alerts[i].Sender = &rollback.Sender{Name: "plan", Namespaces: []string{rollback.AllNamespaces}, Confirm: rollback.ConfirmByGrafana}
			found = true
		}
	}
	return found
}

// errDryRun is the reason why a plan writes nothing.
var errDryRun = errors.New("a plan writes nothing")

func noWrites() error { return errDryRun }

// newDryEngine returns an engine that has the operator's rights, knows the stored
// records, and cannot write.
func newDryEngine(ctx context.Context, a serve.Access, s planSettings) (*engine.Engine, error) {
	in, client, err := connect(a)
	if err != nil {
		return nil, err
	}
	quiet := slog.New(slog.DiscardHandler)
	options := engine.Options{Policy: s.policy, Registerer: prometheus.NewRegistry(), Log: quiet, Leads: noWrites}
	if options.Releases, err = helm.New(helm.Options{Config: in.Config, Storages: s.storages, Track: s.policy.Track, Fence: noWrites, Log: quiet}); err != nil {
		return nil, err
	}
	if options.Traffic, err = traffic.New(traffic.Options{Config: in.Config, Track: s.policy.Track, Fence: noWrites}); err != nil {
		return nil, err
	}
	stored := ledger.New(ledger.Options{Client: client, Namespaces: s.policy.Namespaces(), Own: in.Namespace, Log: quiet})
	options.Ledger = stored
	if len(s.prometheus.URLs) > 0 {
		if options.Prometheus, err = prom.New(prom.Options{Config: s.prometheus}); err != nil {
			return nil, err
		}
	}
	if len(s.grafana.URLs) > 0 {
		if options.Grafana, err = prom.NewGrafana(prom.GrafanaOptions{Config: s.grafana}); err != nil {
			return nil, err
		}
	}
	dry, err := engine.New(options)
	if err != nil {
		return nil, err
	}
	// Records that the operator cannot read do not count for a storm.
	all, _ := stored.All(ctx)
	for _, r := range all {
		dry.OnRecord(r)
	}
	return dry, nil
}
