package prom

import (
	"cmp"
	"context"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/api"
	promv1 "github.com/prometheus/client_golang/api/prometheus/v1"

	"github.com/upcommerce/backout/rollback"
)

// loadedRule is what a server has in memory about the rules with an alert's name.
type loadedRule struct {
	sighting
	loaded bool
	// failure is the last evaluation's error.
	failure string
	// evaluated is when that evaluation began, by the server's clock. Of several rules, it
	// is the earliest.
	evaluated time.Time
	since     time.Time
}

// loadedRule reads the alert's rules and its firing alerts. The memory has more of these
// than the storage: for the first two evaluations after its start, Prometheus sends
// alerts but stores nothing about them.
func (s server) loadedRule(ctx context.Context, q query) (loadedRule, error) {
	rules, err := s.alertRules(ctx, url.Values{"rule_name[]": {q.alert}})
	if err != nil {
		return loadedRule{}, err
	}
	var r loadedRule
	for _, rule := range rules {
		if rule.Name == q.alert {
			r.addRule(q, rule)
		}
	}
	return r, nil
}

// evaluates reports whether the server has an alert rule whose backout label requests
// something of backout. One that has none does not evaluate backout's rules, and what it
// does not have proves nothing. The watchdog's label is not enough: it is a rule about
// backout itself.
func (s server) evaluates(ctx context.Context) (bool, error) {
	rules, err := s.alertRules(ctx, url.Values{"match[]": {"{" + labelLevel + `!=""}`}, "exclude_alerts": {"true"}})
	return slices.ContainsFunc(rules, func(r promv1.AlertingRule) bool {
		return requests(string(r.Labels[labelLevel]))
	}), err
}

// requests reports whether the backout label of a rule requests something of backout. A template
// becomes a level when the alert fires.
func requests(level string) bool {
	return rollback.Level(level).Valid() || strings.Contains(level, "{{")
}

// alertRules returns the alert rules that match the filter, and others too if the server
// does not know the filter.
func (s server) alertRules(ctx context.Context, filter url.Values) ([]promv1.AlertingRule, error) {
	filter.Set("type", "alert")
	result, err := promv1.NewAPI(filteredClient{s.client, filter}).Rules(ctx, nil)
	if err != nil {
		return nil, err
	}
	var rules []promv1.AlertingRule
	for _, group := range result.Groups {
		for _, rule := range group.Rules {
			if alerting, ok := rule.(promv1.AlertingRule); ok {
				rules = append(rules, alerting)
			}
		}
	}
	return rules, nil
}

func (r *loadedRule) addRule(q query, rule promv1.AlertingRule) {
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
		if alert.State == promv1.AlertStateFiring && r.sighting.add(q, alert.Labels) {
			r.since = earliest(r.since, alert.ActiveAt)
		}
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
