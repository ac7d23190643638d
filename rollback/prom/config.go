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
			errs = append(errs, fmt.Errorf("BACKOUT_PROMETHEUS_URLS: address %d (%s) contains a password, and would not get the token of BACKOUT_PROMETHEUS_TOKEN_FILE: remove one of them", i+1, serverName(u)))
		}
		if slices.Contains(c.URLs[:i], text) {
			errs = append(errs, fmt.Errorf("BACKOUT_PROMETHEUS_URLS: address %d (%s) is listed twice: remove one", i+1, serverName(u)))
		}
	}
	if len(c.URLs) == 0 && (c.TokenFile != "" || c.CAFile != "") {
		errs = append(errs, errors.New("BACKOUT_PROMETHEUS_TOKEN_FILE and BACKOUT_PROMETHEUS_CA_FILE need BACKOUT_PROMETHEUS_URLS: without it, backout queries no server"))
	}
	if len(c.URLs) > 0 && c.CAFile != "" && !secure {
		errs = append(errs, errors.New("BACKOUT_PROMETHEUS_CA_FILE has no effect, because no address in BACKOUT_PROMETHEUS_URLS begins with https: remove it, or use https"))
	}
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
	names := make([]string, len(c.URLs))
	for i, text := range c.URLs {
		names[i] = "?"
		if u, err := parseURL(text); err == nil {
			names[i] = serverName(u)
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

// parseURL does not quote the text in its error: it may contain a password.
func parseURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.RawQuery != "" || u.Fragment != "" {
		return nil, errors.New("want http://host:port or https://host:port, with a path prefix if the server has one")
	}
	return u, nil
}

// serverName is the server's name in errors and logs: its address without user, password
// and scheme.
func serverName(u *url.URL) string { return u.Host + strings.TrimRight(u.Path, "/") }
