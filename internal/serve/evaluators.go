package serve

import (
	"github.com/upcommerce/backout/rollback/engine"
	"github.com/upcommerce/backout/rollback/prom"
)

// connectEvaluators connects the engine to Prometheus and Grafana if they are configured.
func (s *service) connectEvaluators(options *engine.Options) error {
	if len(s.config.Prometheus.URLs) > 0 {
		client, err := prom.New(prom.Options{Config: s.config.Prometheus, Registerer: s.registry, Log: s.log})
		if err != nil {
			return err
		}
		s.prometheus, options.Prometheus = client, client
	}
	if len(s.config.Grafana.URLs) > 0 {
		client, err := prom.NewGrafana(prom.GrafanaOptions{Config: s.config.Grafana, Registerer: s.registry, Log: s.log})
		if err != nil {
			return err
		}
		s.grafana, options.Grafana = client, client
	}
	return nil
}

// problems returns what backout cannot do although it is ready.
func (s *service) problems() []string {
	all := s.elsewhere.problems()
	if s.prometheus != nil {
		all = append(all, s.prometheus.Problems()...)
	}
	if s.grafana != nil {
		all = append(all, s.grafana.Problems()...)
	}
	return all
}
