package prom_test

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/prom"
)

// receipt is when the signal of the tests was received: half a minute ago, as if no server
// could be queried since.
var receipt = time.Now().Add(-30 * time.Second)

// ago and after are times around the receipt.
func ago(d time.Duration) time.Time   { return receipt.Add(-d) }
func after(d time.Duration) time.Time { return receipt.Add(d) }

// alert is a time during which an alert was in a state. Its times, like all times of a
// fake, are those of a correct clock.
type alert struct {
	labels map[string]string
	// pending says that it did not fire.
	pending  bool
	from, to time.Time // to is zero as long as it lasts
	since    time.Time
	// kept says that it fires because of keep_firing_for alone.
	kept bool
	// unstored alerts are in memory only; late ones are stored after the first query, and
	// not in memory.
	unstored, late bool
}

func (a alert) state() string {
	if a.pending {
		return "pending"
	}
	return "firing"
}

// rule is an alert rule of a fake.
type rule struct {
	name, health, lastError string
	evaluated               time.Time
	// level is its backout label; "" is no label.
	level string
	// query is its expression, window its annotation; "" if it does not have one.
	query, window string
	// group is when the evaluation of its group began, if not at the same time.
	group time.Time
	// silent says that the server does not report why an alert fires.
	silent bool
}

// fake is a Prometheus that reads label matchers, windows and times of a query, but does
// not compute it.
type fake struct {
	rules  []rule
	alerts []alert
	// traffic are the samples of every query that is not about alerts.
	traffic []string
	// clockAhead is how much its clock is ahead.
	clockAhead time.Duration
	// unfiltered says that it always returns all rules.
	unfiltered bool
	// rulesStatus is the status with which it answers a request for rules, if not 0.
	rulesStatus int
	// warning is attached to the results of queries.
	warning string
	// instead answers every request if it is not nil.
	instead http.HandlerFunc

	queries         []string
	evaluationTimes []time.Time
}

func (f *fake) start(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(f.handler())
	t.Cleanup(s.Close)
	return s.URL
}

func (f *fake) handler() http.Handler {
	if f.instead != nil {
		return f.instead
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/api/v1/query", f.query)
	mux.HandleFunc("/api/v1/rules", f.listRules)
	return mux
}

func answer(w http.ResponseWriter, data any, warnings ...string) {
	_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": data, "warnings": warnings})
}

func (f *fake) query(w http.ResponseWriter, r *http.Request) {
	now := time.Now()
	if text := r.FormValue("time"); text != "" {
		seconds, _ := strconv.ParseFloat(text, 64)
		now = time.UnixMilli(int64(seconds * 1000)).Add(-f.clockAhead)
	}
	text := r.FormValue("query")
	f.queries, f.evaluationTimes = append(f.queries, text), append(f.evaluationTimes, now)
	at := float64(now.Add(f.clockAhead).UnixMilli()) / 1000
	sample := func(labels map[string]string, value string) map[string]any {
		return map[string]any{"metric": labels, "value": []any{at, value}}
	}
	result := []any{}
	switch {
	case text == "vector(0)":
		result = append(result, sample(nil, "0"))
	case alertQuery.MatchString(text):
		for _, a := range f.alerts {
			if f.stored(a, text, now) {
				labels := maps.Clone(a.labels)
				result = append(result, sample(labels, strconv.FormatInt(a.since.Add(f.clockAhead).Unix(), 10)))
				labels = maps.Clone(labels)
				labels["alertstate"] = a.state()
				if !a.pending {
					result = append(result, sample(labels, "1"))
				}
			}
		}
		result = append(result, sample(nil, "0"))
	default:
		for i, value := range f.traffic {
			result = append(result, sample(map[string]string{"pod": strconv.Itoa(i)}, value))
		}
	}
	var warnings []string
	if f.warning != "" {
		warnings = []string{f.warning}
	}
	answer(w, map[string]any{"resultType": "vector", "result": result}, warnings...)
}

var (
	alertQuery = regexp.MustCompile(`ALERTS\{.*\}.*or vector\(0\)$`)
	window     = regexp.MustCompile(`\[(\w+)\]`)
	matcher    = regexp.MustCompile(`(\w+)(=~|=)("(?:[^"\\]|\\.)*")`)
)

// stored reports whether a query as of now finds the alert.
func (f *fake) stored(a alert, query string, now time.Time) bool {
	back, err := model.ParseDuration(window.FindStringSubmatch(query)[1])
	if err != nil || a.unstored || (a.late && len(f.queries) < 2) {
		return false
	}
	for _, m := range matcher.FindAllStringSubmatch(query, -1) {
		want, err := strconv.Unquote(m[3])
		if err != nil {
			return false
		}
		got := a.labels[m[1]]
		switch {
		case m[1] == "alertstate":
		case m[2] == "=" && got != want, m[2] == "=~" && !regexp.MustCompile("^(?:"+want+")$").MatchString(got):
			return false
		}
	}
	return !a.from.After(now) && (a.to.IsZero() || !a.to.Before(now.Add(-time.Duration(back))))
}

// selected reports whether the rule passes the filters of a request for rules.
func (r rule) selected(q *http.Request) bool {
	switch name, match := q.FormValue("rule_name[]"), q.FormValue("match[]"); {
	case q.FormValue("type") != "alert":
		return false
	case match != "":
		return match == `{backout!=""}` && r.level != ""
	default:
		return r.name == name
	}
}

func (f *fake) listRules(w http.ResponseWriter, r *http.Request) {
	if f.rulesStatus != 0 {
		w.WriteHeader(f.rulesStatus)
		return
	}
	var rules []any
	for _, rule := range f.rules {
		if !f.unfiltered && !rule.selected(r) {
			continue
		}
		labels := map[string]string{"severity": "critical"}
		if rule.level != "" {
			labels["backout"] = rule.level
		}
		var alerts []any
		for _, a := range f.alerts {
			if a.labels["alertname"] == rule.name && a.to.IsZero() && !a.late {
				one := map[string]any{"labels": a.labels, "state": a.state(), "activeAt": a.since.Add(f.clockAhead), "value": "1"}
				if a.kept {
					one["keepFiringSince"] = time.Now().Add(f.clockAhead)
				}
				alerts = append(alerts, one)
			}
		}
		one := map[string]any{
			"type": "alerting", "name": rule.name, "labels": labels, "query": cmp.Or(rule.query, "x"), "health": rule.health, "lastError": rule.lastError,
			"lastEvaluation": rule.evaluated.Add(f.clockAhead), "alerts": alerts,
		}
		if rule.window != "" {
			one["annotations"] = map[string]string{"window": rule.window}
		}
		if !rule.silent {
			one["keepFiringFor"] = 60
		}
		rules = append(rules, one)
	}
	group := map[string]any{"name": "canary", "file": "f", "interval": 1, "rules": rules}
	if len(f.rules) > 0 && !f.rules[0].group.IsZero() {
		group["lastEvaluation"] = f.rules[0].group.Add(f.clockAhead)
	}
	answer(w, map[string]any{"groups": []any{group}})
}

// evaluated has one healthy rule BadCanary of the level rollback.
func evaluated(at time.Time, alerts ...alert) *fake {
	return &fake{rules: []rule{{name: "BadCanary", health: "ok", evaluated: at, level: "rollback"}}, alerts: alerts}
}

func newClient(t *testing.T, c prom.Config) *prom.Client {
	t.Helper()
	client, err := prom.New(prom.Options{Config: c})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

var (
	shop      = rollback.Key{Namespace: "web", Release: "shop"}
	badCanary = rollback.Signal{Alert: "BadCanary", Version: "v3", Level: rollback.LevelRollback}
)
