package prom

import (
	"cmp"
	"context"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"
)

// loadedRule is what a server has in memory about the rules with an alert's name.
type loadedRule struct {
	loaded, fired bool
	// failure is the last evaluation's error.
	failure string
	// evaluated is when that evaluation began, by the server's clock. Of several rules, it
	// is the earliest.
	evaluated    time.Time
	since        time.Time
	missingLabel string
}

// loadedRule reads the alert's rules and its firing alerts. The memory has more of these
// than the storage: for the first two evaluations after its start, Prometheus sends
// alerts but stores nothing about them.
func (s server) loadedRule(ctx context.Context, q query) (loadedRule, error) {
	filter := url.Values{"type": {"alert"}, "rule_name[]": {q.alert}}
	result, err := promv1.NewAPI(filteredClient{s.client, filter}).Rules(ctx, nil)
	if err != nil {
		return loadedRule{}, err
	}
	var r loadedRule
	for _, group := range result.Groups {
		for _, rule := range group.Rules {
			// Servers that do not know the filter return every rule.
			if alerting, ok := rule.(promv1.AlertingRule); ok && alerting.Name == q.alert {
				r.add(q, alerting)
			}
		}
	}
	return r, nil
}

func (r *loadedRule) add(q query, rule promv1.AlertingRule) {
	if !r.loaded || rule.LastEvaluation.Before(r.evaluated) {
		r.evaluated = rule.LastEvaluation
	}
	r.loaded = true
	if rule.Health == promv1.RuleHealthBad {
		// Its alerts are those of the last evaluation that succeeded, whenever that was.
		r.failure = cmp.Or(rule.LastError, "no reason given")
		return
	}
	for _, alert := range rule.Alerts {
		if alert.State != promv1.AlertStateFiring {
			continue
		}
		matches, missing := q.matches(alert.Labels)
		if !matches {
			r.missingLabel = max(r.missingLabel, missing)
			continue
		}
		r.fired = true
		r.since = earliest(r.since, alert.ActiveAt)
	}
}

// filteredClient adds parameters to every address; the library's Rules takes none.
type filteredClient struct {
	api.Client
	parameters url.Values
}

// URL is the client's URL with the parameters.
func (f filteredClient) URL(endpoint string, args map[string]string) *url.URL {
	u := f.Client.URL(endpoint, args)
	u.RawQuery = f.parameters.Encode()
	return u
}
