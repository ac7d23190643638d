// Package prom asks Prometheus: did this alert fire, since when, and does the
// canary get traffic?
//
// Every server of an HA pair is asked by itself. One that says firing is enough;
// quiet needs all of them. What an alert is called here is what the rule calls
// it: external labels and alert relabelling come later, on the way to
// Alertmanager.
package prom

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/upcommerce/backout/rollback"
)

// Client asks a fixed set of Prometheus servers. It is safe for concurrent use.
type Client struct {
	servers []server
	traffic string
}

// Options is what New needs.
type Options struct {
	Config Config
}

// New returns a client for the configured servers. It asks nobody. It returns an
// error if no server is configured, if the configuration is not valid, or if a
// file that it names cannot be read.
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
	return c, nil
}

// patience is how long the other servers are waited for once one said firing.
// Their answer moves active-since only: it is worth what a server that is up
// takes to answer, and not what a shed would lose by one that is down.
const patience = 100 * time.Millisecond

// inTime is why a server is not heard of when ctx ends.
const inTime = "no answer in time"

// Firing asks all servers at once whether the accusation's alert fired at that
// time or at any time from then until now. What fired after its receipt counts:
// one server of a pair may be later than the other. What is quiet by now counts
// too, for a shed quiets its own alert.
//
// It returns Firing if one server says so, with the earliest active-since time of
// all series of all servers, by this machine's clock: one that was started anew
// may have begun to count later. Once one says firing, the others are waited for
// until they have answered, 100 ms have passed or ctx ends, whichever comes first;
// of who has not answered by then the active-since time does not count. So the
// answer does not depend on which server is the fastest, as long as all are up.
//
// It returns Quiet if no server saw the alert firing, at least one has the rule, and each that has it has
// evaluated it since. Everything else is Unknown, with the reasons in one line: a
// server that did not answer before ctx ended, a rule that nobody has, that fails
// or that was not evaluated since. So a caller that asks about the present moment
// hears Unknown: to learn whether an alert is quiet by now, it asks about a time
// at least one evaluation ago.
//
// Times are compared as distances from each server's own present, so that a
// server whose clock is wrong answers like any other.
func (c *Client) Firing(ctx context.Context, k rollback.Key, a rollback.Accusation, at time.Time) rollback.Confirmation {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	q := question{alert: a.Alert, namespace: k.Namespace, release: k.Release, version: matchable(a.Version), at: at}
	found := make(chan finding, len(c.servers))
	for i, s := range c.servers {
		go func() { found <- s.ask(ctx, i, q) }()
	}
	return c.gather(ctx, q, found)
}

// gather draws the conclusion from what the servers find, as far as it is waited
// for.
func (c *Client) gather(ctx context.Context, q question, found <-chan finding) rollback.Confirmation {
	findings := make([]finding, len(c.servers))
	for i := range findings {
		findings[i] = finding{kind: unclear, reason: inTime}
	}
	var enough <-chan time.Time // never, until one says firing
	for range c.servers {
		select {
		case f := <-found:
			findings[f.server] = f
			if f.kind == firing && enough == nil {
				enough = time.After(patience)
			}
		case <-enough:
			return c.conclusion(q, findings)
		case <-ctx.Done():
			return c.conclusion(q, findings)
		}
	}
	return c.conclusion(q, findings)
}

// conclusion is Firing, since the earliest time that is known, if one server says
// so.
func (c *Client) conclusion(q question, findings []finding) rollback.Confirmation {
	fired := rollback.Confirmation{Answer: rollback.AnswerFiring}
	var says bool
	for _, f := range findings {
		if f.kind == firing {
			says, fired.ActiveSince = true, earliest(fired.ActiveSince, f.since)
		}
	}
	if says {
		return fired
	}
	return c.withoutFiring(q, findings)
}

// withoutFiring draws the conclusion from what was found, once no server says
// firing.
func (c *Client) withoutFiring(q question, findings []finding) rollback.Confirmation {
	var reasons []string
	loaded := false
	for i, f := range findings {
		loaded = loaded || f.kind == quiet
		if f.kind == unclear {
			reasons = append(reasons, c.servers[i].name+": "+f.reason)
		}
	}
	switch {
	case len(reasons) > 0:
		return rollback.Confirmation{Answer: rollback.AnswerUnknown, Error: strings.Join(reasons, "; ")}
	case !loaded:
		return rollback.Confirmation{Answer: rollback.AnswerUnknown, Error: fmt.Sprintf(
			"no server in BACKOUT_PROMETHEUS_URLS has an alert rule named %s: name those that evaluate it", oneLine(q.alert))}
	default:
		return rollback.Confirmation{Answer: rollback.AnswerQuiet}
	}
}

// CanaryTraffic returns the canary's requests per second at that time, by the
// first server that answers: the sum of what BACKOUT_TRAFFIC_QUERY yields, and 0
// if that is nothing, for then nobody counted a request. It returns an error, in
// one line, if no server answers before ctx ends.
func (c *Client) CanaryTraffic(ctx context.Context, k rollback.Key, at time.Time) (float64, error) {
	query, err := fill(c.traffic, k)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		server int
		value  float64
		err    error
	}
	answers := make(chan answer, len(c.servers))
	for i, s := range c.servers {
		go func() {
			value, err := s.sum(ctx, query, at)
			answers <- answer{i, value, err}
		}()
	}
	var reasons []string
	for range c.servers {
		select {
		case a := <-answers:
			if a.err == nil {
				return a.value, nil
			}
			reasons = append(reasons, c.servers[a.server].name+": "+reason(a.err))
		case <-ctx.Done():
			return 0, fmt.Errorf("ask for the traffic of %s: %s", k, strings.Join(append(reasons, inTime), "; "))
		}
	}
	return 0, fmt.Errorf("ask for the traffic of %s: %s", k, strings.Join(reasons, "; "))
}

// fill puts the release's names into the query. Names that could end a PromQL
// string of any quotes are refused; Kubernetes has none.
func fill(query string, k rollback.Key) (string, error) {
	if strings.ContainsAny(k.Namespace+k.Release, "\"'`\\\n") {
		return "", fmt.Errorf("ask for the traffic of %q: quotes and backslashes cannot stand in a query", k.String())
	}
	return strings.NewReplacer("$namespace", k.Namespace, "$release", k.Release).Replace(query), nil
}
