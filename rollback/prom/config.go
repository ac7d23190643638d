package prom

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Config says which Prometheus servers are asked, and how. Its tags are read by
// go-envconfig under the prefix BACKOUT_.
type Config struct {
	URLs         []string `env:"PROMETHEUS_URLS" desc:"Prometheus servers that evaluate the alert rules, separated by commas, such as http://prometheus-0:9090; each server of an HA pair by its own address. None: alerts are believed as they come."`
	TokenFile    string   `env:"PROMETHEUS_TOKEN_FILE" desc:"File that holds a bearer token for all of them. Re-read when it changes."`
	CAFile       string   `env:"PROMETHEUS_CA_FILE" desc:"File with the CAs of their certificates (PEM), instead of the system's. Re-read when it changes."`
	TrafficQuery string   `env:"TRAFFIC_QUERY" desc:"PromQL for the canary's requests per second, with $namespace and $release in quotes; by default sum(rate(http_requests_total{namespace=\"$namespace\",release=\"$release\",track=\"canary\"}[1m]))."`
}

// defaultTrafficQuery counts what the charts' ServiceMonitor scrapes.
const defaultTrafficQuery = `sum(rate(http_requests_total{namespace="$namespace",release="$release",track="canary"}[1m]))`

// bare is a placeholder as a label's whole value, without quotes.
var bare = regexp.MustCompile(`[=~]\s*\$(namespace|release)`)

// Validate returns every mistake, each by the name of its variable and without
// the passwords that an address may hold.
func (c Config) Validate() error {
	var errs []error
	secure := false
	for i, text := range c.URLs {
		u, err := parseURL(text)
		if err != nil {
			errs = append(errs, fmt.Errorf("BACKOUT_PROMETHEUS_URLS: address %d: %w", i+1, err))
			continue
		}
		secure = secure || u.Scheme == "https"
		if u.User != nil && c.TokenFile != "" {
			errs = append(errs, fmt.Errorf("BACKOUT_PROMETHEUS_URLS: address %d (%s) holds a password and would not get the token of BACKOUT_PROMETHEUS_TOKEN_FILE: drop one of them", i+1, name(u)))
		}
		if slices.Contains(c.URLs[:i], text) {
			errs = append(errs, fmt.Errorf("BACKOUT_PROMETHEUS_URLS: address %d (%s) stands there twice: drop one", i+1, name(u)))
		}
	}
	if len(c.URLs) == 0 && (c.TokenFile != "" || c.CAFile != "") {
		errs = append(errs, errors.New("BACKOUT_PROMETHEUS_TOKEN_FILE and BACKOUT_PROMETHEUS_CA_FILE need BACKOUT_PROMETHEUS_URLS: nobody is asked without it"))
	}
	if len(c.URLs) > 0 && c.CAFile != "" && !secure {
		errs = append(errs, errors.New("BACKOUT_PROMETHEUS_CA_FILE has no use, for no address in BACKOUT_PROMETHEUS_URLS begins with https: drop it, or use https"))
	}
	query := c.trafficQuery()
	for _, placeholder := range []string{"$namespace", "$release"} {
		if !strings.Contains(query, placeholder) {
			errs = append(errs, fmt.Errorf("BACKOUT_TRAFFIC_QUERY does not contain %s: the traffic of another release would be taken for the canary's", placeholder))
		}
	}
	if found := bare.FindString(query); found != "" {
		errs = append(errs, fmt.Errorf(`BACKOUT_TRAFFIC_QUERY: %s is not in quotes: write namespace="$namespace"`, found))
	}
	return errors.Join(errs...)
}

// LogValue shows who is asked; it shows no passwords, and not what is in files.
func (c Config) LogValue() slog.Value {
	names := make([]string, len(c.URLs))
	for i, text := range c.URLs {
		names[i] = "?"
		if u, err := parseURL(text); err == nil {
			names[i] = name(u)
		}
	}
	return slog.GroupValue(
		slog.Any("servers", names), slog.Bool("token", c.TokenFile != ""), slog.Bool("ca", c.CAFile != ""),
		slog.String("traffic_query", c.trafficQuery()),
	)
}

func (c Config) trafficQuery() string {
	if c.TrafficQuery == "" {
		return defaultTrafficQuery
	}
	return c.TrafficQuery
}

// parseURL does not quote what it was given: a password may be in it.
func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("want http://host:port or https://host:port, with a path prefix if the server has one")
	}
	return u, nil
}

// name is how a server is called in errors and logs: where it is, without user,
// password and scheme.
func name(u *url.URL) string { return u.Host + strings.TrimRight(u.Path, "/") }
