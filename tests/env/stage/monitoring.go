package stage

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/upcommerce/backout/rules"
	"github.com/upcommerce/backout/tests/env/sandbox"
)

// prometheusPort is not one of the ports that backout listens on.
const prometheusPort = 9190

// QueryPrometheus returns the environment of a backout that queries the stage's
// Prometheus, and that verifies for long enough that the shipped rules can be quiet
// again.
func QueryPrometheus() map[string]string {
	return map[string]string{
		"BACKOUT_PROMETHEUS_URLS": "http://" + net.JoinHostPort(sandbox.InnerAddress, strconv.Itoa(prometheusPort)),
		"BACKOUT_VERIFY_LIMIT":    "150s", // a window and keep_firing_for of a minute each, and half a minute
	}
}

// shippedKeepFiring is how the shipped rules keep their alerts firing.
const shippedKeepFiring = "keep_firing_for: 1m"

// Monitoring configures a stage's Prometheus.
type Monitoring struct {
	// Alertmanager receives the alerts.
	Alertmanager *sandbox.Alertmanager
	// KubeStateMetrics exports the state of pods; nil: no target does.
	KubeStateMetrics *sandbox.KubeStateMetrics
	// Thresholds replace those of the shipped rules, by kind.
	Thresholds map[string]float64
	// KeepFiring replaces the minute for which the shipped rules keep an alert firing when
	// its cause is gone; 0: it does not.
	KeepFiring time.Duration
}

// Rules returns the alert rules that backout ships. Thresholds and keepFiring are those of
// Monitoring.
func Rules(thresholds map[string]float64, keepFiring time.Duration) ([]byte, error) {
	text, err := rules.Assemble(rules.Options{Thresholds: thresholds})
	if err != nil || keepFiring == 0 {
		return text, err
	}
	shorter := bytes.ReplaceAll(text, []byte(shippedKeepFiring), []byte("keep_firing_for: "+keepFiring.String()))
	if bytes.Equal(shorter, text) {
		return nil, fmt.Errorf("shorten the alerts: the rules do not say %q", shippedKeepFiring)
	}
	return shorter, nil
}

// Prometheus runs a Prometheus that evaluates the rules which backout ships. It scrapes
// the storefront, the first backout of the stage, and the components of m.
func (s *Stage) Prometheus(ctx context.Context, m Monitoring) (*sandbox.Prometheus, error) {
	own := filepath.Join(s.repository(), "rules", "backout.rules.yml")
	canary := filepath.Join(s.Sandbox.Dir(), "canary.rules.yml")
	text, err := Rules(m.Thresholds, m.KeepFiring)
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
