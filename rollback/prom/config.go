package prom

import (
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"strings"
)

// Config says which Prometheus servers backout queries, and how. go-envconfig reads its
// tags under the prefix BACKOUT_.
type Config struct {
	URLs         []string `env:"PROMETHEUS_URLS" desc:"Prometheus servers that evaluate the alert rules, separated by commas, such as http://prometheus-0:9090; each server of an HA pair by its own address. Without any, backout acts on alerts without confirming them."`
	TokenFile    string   `env:"PROMETHEUS_TOKEN_FILE" desc:"File with a bearer token for all of them. Re-read when it changes."`
	CAFile       string   `env:"PROMETHEUS_CA_FILE" desc:"File with the CAs of their certificates (PEM), which replace those of the system. Re-read when it changes."`
	TrafficQuery string   `env:"TRAFFIC_QUERY" desc:"PromQL for the canary's requests per second, with $namespace and $release in quotes; by default sum(rate(http_requests_total{namespace=\"$namespace\",release=\"$release\",track=\"canary\"}[1m]))."`
}

// defaultTrafficQuery is for the metric that the charts' ServiceMonitor scrapes.
const defaultTrafficQuery = `sum(rate(http_requests_total{namespace="$namespace",release="$release",track="canary"}[1m]))`

// unquotedPlaceholder matches a placeholder as a label's whole value, without quotes.
var unquotedPlaceholder = regexp.MustCompile(`[=~]\s*\$(namespace|release)`)

// Validate returns all mistakes, each with the name of its variable and without the
// passwords that an address may contain.
func (c Config) Validate() error {
	errs := []error{c.evaluators().validate()}
	query := c.trafficQuery()
	for _, placeholder := range []string{"$namespace", "$release"} {
		if !strings.Contains(query, placeholder) {
			errs = append(errs, fmt.Errorf("BACKOUT_TRAFFIC_QUERY does not contain %s: it would count the traffic of other releases as the canary's", placeholder))
		}
	}
	if found := unquotedPlaceholder.FindString(query); found != "" {
		errs = append(errs, fmt.Errorf(`BACKOUT_TRAFFIC_QUERY: %s is not in quotes: write namespace="$namespace"`, found))
	}
	return errors.Join(errs...)
}

// LogValue shows the servers; it shows no passwords, and no contents of files.
func (c Config) LogValue() slog.Value {
	return slog.GroupValue(
		slog.Any("servers", c.evaluators().names()), slog.Bool("token", c.TokenFile != ""), slog.Bool("ca", c.CAFile != ""),
		slog.String("traffic_query", c.trafficQuery()),
	)
}

func (c Config) evaluators() addresses {
	return addresses{prometheusServers, c.URLs, c.TokenFile, c.CAFile}
}

func (c Config) trafficQuery() string {
	if c.TrafficQuery == "" {
		return defaultTrafficQuery
	}
	return c.TrafficQuery
}

// GrafanaConfig says which Grafana servers backout queries, and how. go-envconfig reads its tags
// under the prefix BACKOUT_.
type GrafanaConfig struct {
	URLs      []string `env:"GRAFANA_URLS" desc:"Grafana servers that evaluate alert rules themselves, separated by commas, such as http://grafana:3000; each replica by its own address. backout asks them about alerts with a token of BACKOUT_TOKENS that says grafana and, if no Prometheus is configured, about those with a token that says nothing."`
	TokenFile string   `env:"GRAFANA_TOKEN_FILE" desc:"File with the token of a service account of Grafana that may read the alert rules and their folders (role Viewer), for all of them. Re-read when it changes."`
	CAFile    string   `env:"GRAFANA_CA_FILE" desc:"File with the CAs of their certificates (PEM), which replace those of the system. Re-read when it changes."`
}

func (c GrafanaConfig) evaluators() addresses {
	return addresses{grafanaServers, c.URLs, c.TokenFile, c.CAFile}
}

// Validate returns all mistakes, each with the name of its variable and without the passwords that
// an address may contain.
func (c GrafanaConfig) Validate() error { return c.evaluators().validate() }

// LogValue shows the servers; it shows no passwords, and no contents of files.
func (c GrafanaConfig) LogValue() slog.Value {
	return slog.GroupValue(slog.Any("servers", c.evaluators().names()), slog.Bool("token", c.TokenFile != ""), slog.Bool("ca", c.CAFile != ""))
}
