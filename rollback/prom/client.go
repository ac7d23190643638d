// Package prom queries Prometheus: did this alert fire, since when, and does the canary
// get traffic?
//
// It queries every server of an HA pair by itself. One that reports the alert firing is
// enough; quiet needs all of them. The labels of an alert are here as the rule sets
// them: external labels and alert relabelling come later, on the way to Alertmanager. So
// the answer contains the level that the rule sets.
//
// A server without any rule that has a backout label does not evaluate backout's rules:
// it can confirm nothing and deny nothing. Client.Run looks for such servers.
//
// Grafana evaluates rules that no Prometheus has: type Grafana queries it about their alerts.
package prom

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/parallel"
)

// Client queries a fixed set of Prometheus servers. It is safe for concurrent use.
type Client struct {
	*pool

	servers []server
	traffic string
}

// Options are what New needs.
type Options struct {
	Config Config
	// Registerer gets the metrics of Run; none if nil.
	Registerer prometheus.Registerer
	// Log is slog.Default if nil.
	Log *slog.Logger
}

// New returns a client for the configured servers. It sends no request. It returns an
// error if no server is configured, if the configuration is not valid, or if a file that
// it names cannot be read.
func New(o Options) (*Client, error) {
	if len(o.Config.URLs) == 0 {
		return nil, errors.New("BACKOUT_PROMETHEUS_URLS is not set: name the Prometheus servers that evaluate the alert rules")
	}
	if err := o.Config.Validate(); err != nil {
		return nil, err
	}
	transport, err := newTransport(o.Config.evaluators())
	if err != nil {
		return nil, err
	}
	c := &Client{pool: &pool{kind: prometheusServers}, traffic: o.Config.trafficQuery()}
	for _, text := range o.Config.URLs {
		s, err := newServer(text, transport)
		if err != nil {
			return nil, err
		}
		c.servers, c.evaluators = append(c.servers, s), append(c.evaluators, s)
	}
	c.watch = newWatch(c.pool, o.Registerer, cmp.Or(o.Log, slog.Default()))
	return c, nil
}

// CanaryTraffic returns the canary's requests per second at that time, from the first
// server that answers: the sum of the samples of BACKOUT_TRAFFIC_QUERY. It is 0 without
// samples, because then no request was counted. It returns an error, on one line, if no
// server answers before ctx ends.
func (c *Client) CanaryTraffic(ctx context.Context, k rollback.Key, at time.Time) (float64, error) {
	promQL, err := fillQuery(c.traffic, k)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		server   int
		value    float64
		err      error
		panicked *parallel.Panic
	}
	answers := make(chan answer, len(c.servers))
	for i, s := range c.servers {
		go func() {
			a := answer{server: i}
			a.panicked = parallel.Try(func() { a.value, a.err = s.sum(ctx, promQL, at) })
			answers <- a
		}()
	}
	var reasons []string
	for range c.servers {
		select {
		case a := <-answers:
			a.panicked.Raise()
			if a.err == nil {
				return a.value, nil
			}
			reasons = append(reasons, c.servers[a.server].name+": "+reason(a.err))
		case <-ctx.Done():
			return 0, fmt.Errorf("query the traffic of %s: %s", k, strings.Join(append(reasons, noAnswer), "; "))
		}
	}
	return 0, fmt.Errorf("query the traffic of %s: %s", k, strings.Join(reasons, "; "))
}

// fillQuery inserts the release's names into a query. It refuses names that could end a
// PromQL string in any quotes; Kubernetes allows none of these characters.
func fillQuery(promQL string, k rollback.Key) (string, error) {
	if strings.ContainsAny(k.Namespace+k.Release, "\"'`\\\n") {
		return "", fmt.Errorf("query the traffic of %q: a query cannot contain quotes and backslashes", k.String())
	}
	return strings.NewReplacer("$namespace", k.Namespace, "$release", k.Release).Replace(promQL), nil
}
