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
	servers []server
	traffic string
	watch   *watch
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
	transport, err := newTransport(o.Config)
	if err != nil {
		return nil, err
	}
	c := &Client{traffic: o.Config.trafficQuery()}
	for _, text := range o.Config.URLs {
		s, err := newServer(text, transport)
		if err != nil {
			return nil, err
		}
		c.servers = append(c.servers, s)
	}
	c.watch = newWatch(c.servers, o.Registerer, cmp.Or(o.Log, slog.Default()))
	return c, nil
}

// noAnswer is the reason for a server that has not answered when ctx ends.
const noAnswer = "no answer in time"

// Firing queries all servers in parallel whether the signal's alert fired at that time
// or at any time from then until now. An alert that fired only after its receipt counts:
// one server of a pair may be later than the other. So does one that no longer fires,
// because a shed quiets its own alert.
//
// It returns AnswerFiring if one server reports the alert firing with a level in its
// backout label and one has its rule, with the strongest such level and the earliest
// active-since time of all series of all servers, by this machine's clock: a server that
// was restarted may have begun to count later. From the first such answer on that is not
// weaker than the signal, Firing waits for the others until they have answered, 100 ms
// have passed or ctx ends, whichever comes first; what comes later does not count. So the
// result does not depend on which server is the fastest, as long as all are up.
//
// The other answers need one of every server that evaluates backout's rules. Firing
// returns AnswerUnproven if none of them has the rule, or if the alert fires without such
// a label. It returns AnswerQuiet if no server saw the alert firing, at least one has the
// rule, and each that has it has evaluated it since that time. Everything else is
// AnswerUnknown, with the reasons on one line: a server that did not answer before ctx
// ended, a rule that fails or that was not evaluated since, or no server that evaluates
// backout's rules. So the answer about the present moment is AnswerUnknown: to learn
// whether an alert is quiet now, the caller passes a time at least one evaluation ago.
//
// Times are compared as distances from each server's own present, so that a server whose
// clock is wrong answers like any other.
func (c *Client) Firing(ctx context.Context, k rollback.Key, s rollback.Signal, at time.Time) rollback.Confirmation {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	q := query{
		alert: s.Alert, namespace: k.Namespace, release: k.Release, version: comparableVersion(s.Version), level: s.Level, at: at,
	}
	results := make(chan result, len(c.servers))
	for i, s := range c.servers {
		go func() {
			var r result
			panicked := parallel.Try(func() { r = s.check(ctx, i, q) })
			r.panicked = panicked
			results <- r
		}()
	}
	return c.collect(ctx, q, results)
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
