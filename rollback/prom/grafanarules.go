package prom

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/common/model"

	"github.com/upcommerce/backout/rollback"
)

// The rules API of Grafana is like that of Prometheus, with other words for states and filters: the
// name of a rule, matchers of its alerts' labels, and pages of groups. Older versions ignore those
// that they do not know.
// https://github.com/grafana/grafana/blob/main/pkg/services/ngalert/api/prometheus/api_prometheus.go
const grafanaRulesPath = "/api/prometheus/grafana/api/v1/rules"

// The states of an alert in Grafana, in lower case. In brackets after it is the reason, if the state
// is not that of the last evaluation: NoData, Error or KeepLast.
const (
	grafanaNormal     = "normal"
	grafanaPending    = "pending"
	grafanaAlerting   = "alerting"
	grafanaRecovering = "recovering" // it fires because of keep_firing_for alone
)

// grafanaMemory is how long Grafana lists at least an alert whose series are gone: its rule says
// after how many evaluations it forgets them, two by default, and an evaluation takes ten seconds
// or more.
const grafanaMemory = time.Minute

type (
	grafanaRules struct {
		groups []grafanaGroup
		// clockAhead is how much the server's clock was ahead of this machine's when it answered,
		// and up to a second more, which the Date header does not say.
		clockAhead time.Duration
		// next is the token of the page that follows; "" if it is the last one.
		next string
	}
	grafanaGroup struct {
		// Interval is in seconds, as are the durations of a rule.
		Interval float64       `json:"interval"`
		Rules    []grafanaRule `json:"rules"`
	}
	grafanaRule struct {
		Name           string            `json:"name"`
		Type           string            `json:"type"`
		Duration       float64           `json:"duration"`
		Labels         map[string]string `json:"labels"`
		Annotations    map[string]string `json:"annotations"`
		Health         string            `json:"health"`
		LastError      string            `json:"lastError"`
		LastEvaluation time.Time         `json:"lastEvaluation"`
		Alerts         []grafanaAlert    `json:"alerts"`
	}
	grafanaAlert struct {
		State  string            `json:"state"`
		Labels map[string]string `json:"labels"`
		// ActiveAt is since when the alert has its state.
		ActiveAt time.Time `json:"activeAt"`
	}
)

// grafanaSighting is what the rules of one name show about an alert.
type grafanaSighting struct {
	sighting
	loaded bool
	// failure says why the rule proves nothing.
	failure string
	// evaluated is when the last evaluation began, by the server's clock. Of several rules, it is
	// the earliest.
	evaluated time.Time
	since     time.Time
	// listed: the alert is among those of the rule. changed: it has its state only since the time in
	// question. remembers is how long the server lists an alert whose series are gone.
	listed, changed bool
	remembers       time.Duration
}

// rulesAbout reads the rules with the query's alert, and of their alerts those that may be the
// query's; others too if Grafana does not know the filters.
func (g grafanaServer) rulesAbout(ctx context.Context, q query) (grafanaRules, error) {
	return g.rules(ctx, url.Values{
		"rule_name": {q.alert},
		"matcher":   {matcher(labelNamespace, q.namespace), matcher(labelRelease, q.release)},
	})
}

// matcher is a matcher of Grafana for the value, or no such label.
func matcher(label, value string) string {
	text, _ := json.Marshal(map[string]any{"name": label, "value": orAbsent(value), "isRegex": true}) // it has no value that fails
	return string(text)
}

// rules reads the alert rules, with these parameters.
func (g grafanaServer) rules(ctx context.Context, parameters url.Values) (grafanaRules, error) {
	parameters.Set("rule_type", "alerting")
	u := g.client.URL(grafanaRulesPath, nil)
	u.RawQuery = parameters.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
	if err != nil {
		return grafanaRules{}, fmt.Errorf("read the rules of %s: %w", g.name, err)
	}
	sent := time.Now()
	response, body, err := g.client.Do(ctx, request)
	if err != nil {
		return grafanaRules{}, err
	}
	if response.StatusCode != http.StatusOK {
		return grafanaRules{}, fmt.Errorf("it responds %s", response.Status)
	}
	var answer struct {
		Status string `json:"status"`
		Error  string `json:"error"`
		Data   struct {
			Groups []grafanaGroup `json:"groups"`
			Next   string         `json:"groupNextToken"`
		} `json:"data"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return grafanaRules{}, err
	}
	if answer.Status != "success" {
		return grafanaRules{}, errors.New(cmp.Or(answer.Error, "it does not list its rules, as Grafana would; check the address in BACKOUT_GRAFANA_URLS"))
	}
	date, err := http.ParseTime(response.Header.Get("Date"))
	if err != nil {
		return grafanaRules{}, errors.New("it does not return its time in the header Date, as Grafana would; check the address in BACKOUT_GRAFANA_URLS")
	}
	return grafanaRules{answer.Data.Groups, date.Add(time.Second).Sub(sent), answer.Data.Next}, nil
}

// serverTime returns a time of this machine's clock by the server's clock, or a moment later.
func (r grafanaRules) serverTime(t time.Time) time.Time { return t.Add(r.clockAhead) }

// localTime returns a time of the server's clock by this machine's clock, or a moment earlier.
func (r grafanaRules) localTime(t time.Time) time.Time { return t.Add(-r.clockAhead).UTC() }

// anyRequests reports whether the backout label of a rule requests something of backout.
func (r grafanaRules) anyRequests() bool {
	return slices.ContainsFunc(r.groups, func(g grafanaGroup) bool {
		return slices.ContainsFunc(g.Rules, func(rule grafanaRule) bool { return requests(rule.Labels[labelLevel]) })
	})
}

// sighting returns what the rules with the query's alert show.
func (r grafanaRules) sighting(q query) grafanaSighting {
	var s grafanaSighting
	for _, group := range r.groups {
		interval := seconds(group.Interval)
		for _, rule := range group.Rules {
			if rule.Name != q.alert || rule.Type == "recording" {
				continue
			}
			if !s.loaded || rule.LastEvaluation.Before(s.evaluated) {
				s.evaluated = rule.LastEvaluation
			}
			s.loaded, s.remembers = true, max(s.remembers, grafanaMemory, 2*interval)
			if rule.Health == "error" || rule.Health == "err" {
				s.failure = "fails: " + cmp.Or(rule.LastError, "no reason given") + "; correct the rule"
				continue // its alerts keep their states
			}
			for _, alert := range rule.Alerts {
				r.add(&s, q, alert, pendingFor(rule, interval))
			}
		}
	}
	return s
}

// add adds an alert whose condition was true for that long before it fired.
func (r grafanaRules) add(s *grafanaSighting, q query, alert grafanaAlert, pending time.Duration) {
	labels := make(model.LabelSet, len(alert.Labels))
	for name, value := range alert.Labels {
		labels[model.LabelName(name)] = model.LabelValue(value)
	}
	state, why := alert.state()
	switch matches, missing := q.matches(labels); {
	case !matches && missing == "":
		return // another alert
	case why == "" && (state == grafanaAlerting || state == grafanaRecovering):
		if s.sighting.add(q, labels) && state == grafanaAlerting {
			s.since = earliest(s.since, r.localTime(alert.ActiveAt.Add(-pending)))
		}
	case !matches:
		return
	case state == grafanaNormal, state == grafanaPending:
		s.changed = s.changed || alert.ActiveAt.After(r.serverTime(q.at.Add(-margin)))
	default:
		s.failure = fmt.Sprintf("proves nothing: its alert is %s there; set the rule's state without data, and on errors, to Normal", alert.State)
	}
	s.listed = true
}

// state returns the state in lower case, and the reason in brackets behind it. Other versions may
// use the words of Prometheus.
func (a grafanaAlert) state() (state, why string) {
	state, why, _ = strings.Cut(strings.ToLower(a.State), " ")
	switch state {
	case "firing":
		state = grafanaAlerting
	case "inactive":
		state = grafanaNormal
	}
	if state == grafanaNormal {
		why = ""
	}
	return state, why
}

// pendingFor returns how long a condition was true before its alert fired, or longer: Grafana
// counts the time in evaluations.
func pendingFor(rule grafanaRule, interval time.Duration) time.Duration {
	if rule.Duration == 0 {
		return 0
	}
	return seconds(rule.Duration) + interval
}

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }

// evidenceFrom returns since when a rule that is true for the query's alert looked back.
func (r grafanaRules) evidenceFrom(q query) time.Time {
	var latest time.Time
	for _, group := range r.groups {
		for _, rule := range group.Rules {
			window, err := model.ParseDuration(rule.Annotations[windowAnnotation])
			if err != nil || rule.Name != q.alert {
				continue
			}
			one := grafanaRules{groups: []grafanaGroup{{group.Interval, []grafanaRule{rule}}}, clockAhead: r.clockAhead}.sighting(q)
			if one.fired && one.failure == "" && !one.since.IsZero() {
				latest = rollback.Later(latest, r.localTime(rule.LastEvaluation.Add(-time.Duration(window))))
			}
		}
	}
	return latest
}
