package stage

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/upcommerce/backout/rules"
	"github.com/upcommerce/backout/tests/sandbox"
)

// prometheusPort is one that backout's ops listener does not use.
const prometheusPort = 9190

// AskPrometheus returns the environment of a backout that asks the stage's
// Prometheus, and judges whether it helped once the shipped rules can be quiet
// again.
func AskPrometheus() map[string]string {
	return map[string]string{
		"BACKOUT_PROMETHEUS_URLS": "http://" + net.JoinHostPort(sandbox.InnerAddress, strconv.Itoa(prometheusPort)),
		"BACKOUT_VERIFY_LIMIT":    "3m",
	}
}

// Monitoring is what a stage's Prometheus works with.
type Monitoring struct {
	// Alertmanager is told of alerts.
	Alertmanager *sandbox.Alertmanager
	// KubeStateMetrics tells of pods; nil: nobody does.
	KubeStateMetrics *sandbox.KubeStateMetrics
	// Thresholds are values in place of the shipped rules', by kind.
	Thresholds map[string]float64
}

// Prometheus runs one that evaluates the rules which backout ships. It scrapes the
// storefront, the first backout of the stage, and what m has.
func (s *Stage) Prometheus(ctx context.Context, m Monitoring) (*sandbox.Prometheus, error) {
	own := filepath.Join(s.programs.repository(), "rules", "backout.rules.yml")
	canary := filepath.Join(s.Sandbox.Dir(), "canary.rules.yml")
	text, err := rules.Assemble(rules.Options{Thresholds: m.Thresholds})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(canary, text, 0o600); err != nil {
		return nil, fmt.Errorf("write the alert rules: %w", err)
	}
	targets := map[string][]string{
		"alertmanager": {strings.TrimPrefix(m.Alertmanager.Inner(), "http://")},
		"backout":      {opsAddress(0)},
	}
	if m.KubeStateMetrics != nil {
		targets["kube-state-metrics"] = []string{m.KubeStateMetrics.Target()}
	}
	return s.Sandbox.Prometheus(ctx, sandbox.PrometheusOptions{
		RuleFiles: []string{canary, own}, Alertmanagers: []*sandbox.Alertmanager{m.Alertmanager},
		Port: prometheusPort, Targets: targets,
	})
}
