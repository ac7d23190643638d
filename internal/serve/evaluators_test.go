package serve

import (
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/upcommerce/backout/rollback/engine"
)

// The engine asks the servers that are configured, and none where nothing is.
func TestTheEngineAsksTheServersThatAreConfigured(t *testing.T) {
	for _, c := range []struct {
		env                 map[string]string
		prometheus, grafana bool
	}{
		{map[string]string{}, false, false},
		{map[string]string{"BACKOUT_PROMETHEUS_URLS": "http://prometheus:9090"}, true, false},
		{map[string]string{"BACKOUT_GRAFANA_URLS": "http://grafana:3000"}, false, true},
		{map[string]string{"BACKOUT_PROMETHEUS_URLS": "http://prometheus:9090", "BACKOUT_GRAFANA_URLS": "http://grafana:3000"}, true, true},
	} {
		c.env["BACKOUT_AUTH"] = "none"
		config, err := load(t, c.env)
		if err != nil {
			t.Fatal(err)
		}
		var options engine.Options
		s := &service{config: config, registry: prometheus.NewRegistry(), log: slog.New(slog.DiscardHandler)}
		if err := s.connectEvaluators(&options); err != nil {
			t.Fatal(err)
		}
		if (options.Prometheus != nil) != c.prometheus || (options.Grafana != nil) != c.grafana {
			t.Errorf("%v: the engine asks Prometheus %t, Grafana %t", c.env, options.Prometheus != nil, options.Grafana != nil)
		}
	}
}
