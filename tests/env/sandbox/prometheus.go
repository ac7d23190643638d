package sandbox

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/upcommerce/backout/tests/env/monitoring"
	"github.com/upcommerce/backout/tests/env/programs"
)

// PrometheusOptions configure a Prometheus.
type PrometheusOptions struct {
	// Name distinguishes several; "": "prometheus".
	Name string
	// RuleFiles are the absolute paths of rule files.
	RuleFiles []string
	// ScrapeInterval and EvaluationInterval are 1s unless set.
	ScrapeInterval, EvaluationInterval time.Duration
	// Alertmanagers receive the alerts. All must run in the same sandbox.
	Alertmanagers []*Alertmanager
	// Targets are scraped in addition to the storefront's pods, with honor_labels: addresses inside, "10.244.0.1:9090", by the
	// name of their job.
	Targets map[string][]string
	// Port is the TCP port inside; 0: 9090.
	Port int
}

// Prometheus is a real Prometheus that runs inside. It finds the storefront's pods through the API server.
type Prometheus struct {
	child *Child
	url   string
	api   promv1.API
}

// Prometheus builds Prometheus if necessary, runs one inside, and returns when it is ready: it has read its rules, but has
// scraped nothing yet. monitoring.Prometheus says what it scrapes.
func (s *Sandbox) Prometheus(ctx context.Context, o PrometheusOptions) (*Prometheus, error) {
	if o.Name == "" {
		o.Name = "prometheus"
	}
	if o.Port == 0 {
		o.Port = 9090
	}
	program, err := programs.Build(ctx, programs.Prometheus(), s.progress)
	if err != nil {
		return nil, err
	}
	s.progress("starting " + o.Name)
	config, file := filepath.Join(s.Dir(), o.Name+".yml"), o.file(s.InnerKubeconfig())
	if err := writeConfig(config, file); err != nil {
		return nil, err
	}
	address := net.JoinHostPort(InnerAddress, strconv.Itoa(o.Port))
	child, err := s.Run(ctx, Process{
		Name: o.Name,
		Path: program,
		Args: []string{
			"--config.file=" + config,
			"--storage.tsdb.path=data",
			"--web.listen-address=" + address,
			file.ReloadInterval(),
		},
	})
	if err != nil {
		return nil, err
	}
	host, err := s.Forward(ctx, address)
	if err != nil {
		return nil, err
	}
	client, err := api.NewClient(api.Config{Address: "http://" + host})
	if err != nil {
		return nil, fmt.Errorf("make a client for Prometheus: %w", err)
	}
	p := &Prometheus{child: child, url: "http://" + host, api: promv1.NewAPI(client)}
	return p, p.awaitReady(ctx)
}

// file is Prometheus' configuration file.
func (o PrometheusOptions) file(kubeconfig string) monitoring.Prometheus {
	file := monitoring.Prometheus{
		ScrapeInterval: o.ScrapeInterval, EvaluationInterval: o.EvaluationInterval,
		RuleFiles: o.RuleFiles, Kubeconfig: kubeconfig, Targets: o.Targets,
	}
	for _, a := range o.Alertmanagers {
		file.Alertmanagers = append(file.Alertmanagers, a.inner)
	}
	return file
}

// writeConfig writes Prometheus' configuration file.
func writeConfig(path string, file monitoring.Prometheus) error {
	b, err := file.YAML()
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return fmt.Errorf("write the configuration of Prometheus: %w", err)
	}
	return nil
}

// URL is Prometheus' address on the host, "http://127.0.0.1:NNNNN". It has no web interface, which is not in the Go module.
func (p *Prometheus) URL() string { return p.url }

// Child is its process, to freeze it or kill it.
func (p *Prometheus) Child() *Child { return p.child }

// Query evaluates an expression now. An expression without a value returns an empty vector.
func (p *Prometheus) Query(ctx context.Context, expr string) (model.Vector, error) {
	value, warnings, _, err := p.api.Query(ctx, expr, time.Time{})
	if err != nil {
		return nil, fmt.Errorf("query %s: %w", expr, err)
	}
	if len(warnings) > 0 {
		return nil, fmt.Errorf("query %s: Prometheus warns: %q", expr, warnings)
	}
	switch v := value.(type) {
	case model.Vector:
		return v, nil
	case *model.Scalar:
		return model.Vector{{Metric: model.Metric{}, Value: v.Value, Timestamp: v.Timestamp}}, nil
	}
	return nil, fmt.Errorf("query %s: the value is a %s, not a vector", expr, value.Type())
}

// Alerts returns the alerts that are pending or firing.
func (p *Prometheus) Alerts(ctx context.Context) ([]promv1.Alert, error) {
	result, err := p.api.Alerts(ctx)
	if err != nil {
		return nil, fmt.Errorf("query Prometheus for its alerts: %w", err)
	}
	return result.Alerts, nil
}

// awaitReady polls /-/ready until it answers 200, or ctx or Prometheus ends.
func (p *Prometheus) awaitReady(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := get(ctx, p.url+"/-/ready")
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for Prometheus: %w (last answer: %w)", context.Cause(ctx), err)
		case <-p.child.Done():
			return fmt.Errorf("wait for Prometheus: %w%s", p.child.Err(), quoteTail(p.child.Log()))
		case <-tick.C:
		}
	}
}
