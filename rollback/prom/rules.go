package prom

import (
	"cmp"
	"context"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
)

// present is what a server has in memory about the rules of an alert's name.
type present struct {
	loaded, fired bool
	// failure is the last evaluation's error.
	failure string
	// evaluated is when that evaluation began, by the server's clock. Of several
	// rules it is the one longest ago.
	evaluated time.Time
	since     time.Time
	lacks     string
}

// rules asks for the alert's rules and what is firing now. Of that, the memory
// knows more than the storage: for the first two evaluations after its start,
// Prometheus sends alerts but stores nothing about them.
func (s server) rules(ctx context.Context, q question) (present, error) {
	filter := url.Values{"type": {"alert"}, "rule_name[]": {q.alert}}
	result, err := promv1.NewAPI(filtered{s.client, filter}).Rules(ctx, nil)
	if err != nil {
		return present{}, err
	}
	var p present
	for _, group := range result.Groups {
		for _, rule := range group.Rules {
			// Servers that do not know the filter return every rule.
			if alerting, ok := rule.(promv1.AlertingRule); ok && alerting.Name == q.alert {
				p.add(q, alerting)
			}
		}
	}
	return p, nil
}

func (p *present) add(q question, rule promv1.AlertingRule) {
	if !p.loaded || rule.LastEvaluation.Before(p.evaluated) {
		p.evaluated = rule.LastEvaluation
	}
	p.loaded = true
	if rule.Health == promv1.RuleHealthBad {
		// What it says is firing has been so at the last evaluation that worked,
		// whenever that was.
		p.failure = cmp.Or(rule.LastError, "no reason given")
		return
	}
	for _, alert := range rule.Alerts {
		if alert.State != promv1.AlertStateFiring {
			continue
		}
		accused, lacks := q.isAccused(alert.Labels)
		if !accused {
			p.lacks = max(p.lacks, lacks)
			continue
		}
		p.fired = true
		p.since = earliest(p.since, alert.ActiveAt)
	}
}

// filtered adds parameters to every address; the library's Rules has no room for
// them.
type filtered struct {
	api.Client
	parameters url.Values
}

// URL is that of the client, with the parameters.
func (f filtered) URL(endpoint string, args map[string]string) *url.URL {
	u := f.Client.URL(endpoint, args)
	u.RawQuery = f.parameters.Encode()
	return u
}
