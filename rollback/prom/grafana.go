package prom

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/api"
	"github.com/prometheus/client_golang/prometheus"
)

// Grafana queries a fixed set of Grafana servers about the alerts of the rules that Grafana
// evaluates itself. It is safe for concurrent use.
//
// Grafana stores nothing about its alerts: it knows their state now, and since when they have it.
// So AnswerQuiet is certain only about a moment that is not long ago, and if no series of the alert
// has changed its state since; otherwise the answer is AnswerUnknown. An alert that fires because
// its rule has no data, or fails, does not count as firing.
type Grafana struct{ *pool }

// GrafanaOptions are what NewGrafana needs.
type GrafanaOptions struct {
	Config GrafanaConfig
	// Registerer gets the metrics of Run; none if nil.
	Registerer prometheus.Registerer
	// Log is slog.Default if nil.
	Log *slog.Logger
}

// NewGrafana returns a client for the configured servers. It sends no request. Its errors are
// those of New.
func NewGrafana(o GrafanaOptions) (*Grafana, error) {
	if len(o.Config.URLs) == 0 {
		return nil, errors.New("BACKOUT_GRAFANA_URLS is not set: name the Grafana servers that evaluate the alert rules")
	}
	if err := o.Config.Validate(); err != nil {
		return nil, err
	}
	transport, err := newTransport(o.Config.evaluators())
	if err != nil {
		return nil, err
	}
	p := &pool{kind: grafanaServers}
	for _, text := range o.Config.URLs {
		u, err := parseURL(text)
		if err != nil {
			return nil, err
		}
		client, err := api.NewClient(api.Config{Address: text, RoundTripper: transport})
		if err != nil {
			return nil, fmt.Errorf("make a client for %s: %s", serverName(u), reason(err))
		}
		p.evaluators = append(p.evaluators, grafanaServer{name: serverName(u), client: client})
	}
	p.watch = newWatch(p, o.Registerer, cmp.Or(o.Log, slog.Default()))
	return &Grafana{p}, nil
}

// grafanaServer is one Grafana.
type grafanaServer struct {
	name   string
	client api.Client
}

func (g grafanaServer) label() string { return g.name }

// check needs one request, and a second one if the server does not have the rule.
func (g grafanaServer) check(ctx context.Context, i int, q query) result {
	r := result{server: i}
	unknownFor := func(format string, args ...any) result {
		r.state, r.reason = unknown, oneLine(fmt.Sprintf(format, args...))
		return r
	}
	rules, err := g.rulesAbout(ctx, q)
	if err != nil {
		return unknownFor("%s", reason(err))
	}
	seen := rules.sighting(q)
	r.loaded = seen.loaded
	switch {
	case !seen.loaded:
		return g.withoutRule(ctx, r)
	case seen.fired:
		r.state, r.level, r.since = firing, seen.level, seen.since
	case seen.unlabelled:
		r.state = unlabelled
	case seen.failure != "":
		return unknownFor("the rule %s %s", q.alert, seen.failure)
	case seen.evaluated.Before(rules.serverTime(q.at)):
		return unknownFor("the rule %s was not evaluated since the time in question; query again later", q.alert)
	case seen.missingLabel != "":
		return unknownFor("the alert %s fires there without the label %s: set it in the rule", q.alert, seen.missingLabel)
	case seen.changed:
		return unknownFor("the alert %s has changed its state since the time in question, and Grafana does not say from which", q.alert)
	case !seen.listed && time.Since(q.at) > seen.remembers:
		return unknownFor("Grafana does not list the alert %s any longer, and does not say whether it fired at the time in question", q.alert)
	default:
		r.state = quiet
	}
	return r
}

// withoutRule completes the result of a server that does not have the rule.
func (g grafanaServer) withoutRule(ctx context.Context, r result) result {
	evaluates, err := g.evaluates(ctx)
	switch {
	case err != nil:
		r.state, r.reason = unknown, reason(err)
	case evaluates:
		r.state = noRule
	default:
		r.state = notEvaluator
	}
	return r
}

// grafanaPage is how many groups of rules backout reads at once. A rule takes a few kilobytes.
const grafanaPage = "40"

// evaluates reports whether Grafana has an alert rule whose backout label requests something. It
// reads pages of rules until one has.
func (g grafanaServer) evaluates(ctx context.Context) (bool, error) {
	parameters := url.Values{"limit_alerts": {"0"}, "group_limit": {grafanaPage}}
	for {
		rules, err := g.rules(ctx, parameters)
		if found := rules.anyRequests(); found || err != nil || rules.next == "" {
			return found, err
		}
		if rules.next == parameters.Get("group_next_token") {
			return false, errors.New("it lists the same page of its rules again and again")
		}
		parameters.Set("group_next_token", rules.next)
	}
}

// evidenceFrom uses the rule's annotation window alone: the time range of a query of Grafana is
// not in its expression.
func (g grafanaServer) evidenceFrom(ctx context.Context, q query) time.Time {
	rules, err := g.rulesAbout(ctx, q)
	if err != nil {
		return time.Time{}
	}
	return rules.evidenceFrom(q)
}
