package prom_test

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	alertlabels "github.com/prometheus/alertmanager/pkg/labels"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/prom"
)

// grafanaInstance is an alert of a rule of Grafana, and since when it has its state.
type grafanaInstance struct {
	labels map[string]string
	state  string
	since  time.Time
}

// grafana is a Grafana with one rule, BadCanary unless it has another name. Its times are those of a
// correct clock.
type grafana struct {
	name, level, health, lastError, window string
	evaluated                              time.Time
	interval, duration                     float64
	alerts                                 []grafanaInstance
	clockAhead                             time.Duration
	// others are groups of rules before it that request nothing of backout; old says that it knows
	// neither matchers nor pages.
	others int
	old    bool
	// status answers every request, if not 0.
	status int
	// asked are the requests.
	asked []*http.Request
}

// start returns its address, with a path prefix.
func (g *grafana) start(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(http.StripPrefix("/grafana", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.asked = append(g.asked, r)
		if g.status != 0 || r.URL.Path != "/api/prometheus/grafana/api/v1/rules" {
			w.WriteHeader(cmp.Or(g.status, http.StatusNotFound))
			return
		}
		w.Header().Set("Date", time.Now().Add(g.clockAhead).UTC().Format(http.TimeFormat))
		_ = r.ParseForm()
		g.list(t, w, r.Form)
	})))
	t.Cleanup(s.Close)
	return s.URL + "/grafana"
}

// list writes the rules as Grafana does: the fields are those of its test of the API.
func (g *grafana) list(t *testing.T, w http.ResponseWriter, asked url.Values) {
	rule := map[string]any{
		"state": "inactive", "name": cmp.Or(g.name, "BadCanary"), "folderUid": "f", "uid": "af2kq0", "query": "sum(rate(x[1m]))", "queriedDatasourceUIDs": []string{"p"},
		"type": "alerting", "health": cmp.Or(g.health, "ok"), "lastError": g.lastError, "duration": g.duration, "keepFiringFor": 0, "isPaused": false,
		"lastEvaluation": g.evaluated.Add(g.clockAhead), "evaluationTime": 0.01, "totals": map[string]int{"normal": 1},
	}
	if level := cmp.Or(g.level, "rollback"); level != "none" {
		rule["labels"] = map[string]string{"backout": level, "severity of it": "critical"}
	}
	if g.window != "" {
		rule["annotations"] = map[string]string{"window": g.window}
	}
	var alerts []any
	for _, a := range g.alerts {
		if asked.Get("limit_alerts") == "0" || !g.matches(t, asked["matcher"], a.labels) {
			continue
		}
		labels := maps.Clone(a.labels)
		labels["grafana_folder"] = "shop"
		alerts = append(alerts, map[string]any{"labels": labels, "annotations": map[string]string{}, "state": a.state, "activeAt": a.since.Add(g.clockAhead), "value": "1.1e+00"})
	}
	rule["alerts"] = alerts
	groups := make([]any, 0, g.others+1)
	group := func(rule map[string]any) {
		if name := asked.Get("rule_name"); name == "" || name == rule["name"] {
			groups = append(groups, map[string]any{"name": fmt.Sprint(len(groups)), "file": "shop", "folderUid": "f", "interval": cmp.Or(g.interval, 10), "rules": []any{rule}})
		}
	}
	for range g.others {
		group(map[string]any{"name": "Other", "type": "alerting", "health": "ok", "query": strings.Repeat("x", 5000)})
	}
	group(rule)
	data := map[string]any{}
	if limit, _ := strconv.Atoi(asked.Get("group_limit")); limit > 0 && !g.old {
		from, _ := strconv.Atoi(asked.Get("group_next_token"))
		to := min(from+limit, len(groups))
		if to < len(groups) {
			data["groupNextToken"] = strconv.Itoa(to)
		}
		groups = groups[from:to]
	}
	data["groups"] = groups
	_ = json.NewEncoder(w).Encode(map[string]any{"status": "success", "data": data})
}

// matches reads matchers as Grafana does, by Alertmanager's type.
func (g *grafana) matches(t *testing.T, matchers []string, set map[string]string) bool {
	for _, text := range matchers {
		var m alertlabels.Matcher
		if err := json.Unmarshal([]byte(text), &m); err != nil {
			t.Errorf("the matcher %s: %v", text, err)
		}
		if !g.old && !m.Matches(set[m.Name]) {
			return false
		}
	}
	return true
}

// newGrafana returns a client for the servers.
func newGrafana(t *testing.T, servers ...*grafana) *prom.Grafana {
	t.Helper()
	var c prom.GrafanaConfig
	for _, g := range servers {
		c.URLs = append(c.URLs, g.start(t))
	}
	client, err := prom.NewGrafana(prom.GrafanaOptions{Config: c})
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func instance(state string, since time.Time, pairs ...string) grafanaInstance {
	return grafanaInstance{labels(pairs...), state, since}
}

// The rules about confirmation hold for Grafana as they do for Prometheus.
func TestGrafanaConfirms(t *testing.T) {
	before, since, long := ago(3*time.Second), after(5*time.Second), ago(time.Minute)
	with := func(alerts ...grafanaInstance) *grafana { return &grafana{evaluated: since, alerts: alerts} }
	for _, c := range []struct {
		what    string
		servers []*grafana
		want    rollback.Answer
		says    string
	}{
		{"an alert that fires is confirmed", []*grafana{with(instance("Alerting", long))}, isFiring, ""},
		{"also before its next evaluation", []*grafana{{evaluated: before, alerts: []grafanaInstance{instance("Alerting", long)}}}, isFiring, ""},
		{"one that fires on because of keep firing for fires", []*grafana{with(instance("Recovering", long))}, isFiring, ""},
		{"in the words of Prometheus, too", []*grafana{with(instance("firing", long))}, isFiring, ""},
		{"a normal alert is quiet", []*grafana{with(instance("Normal", long))}, isQuiet, ""},
		{"for whatever reason", []*grafana{with(instance("Normal (MissingSeries)", long))}, isQuiet, ""},
		{"a pending one is quiet", []*grafana{with(instance("Pending", long))}, isQuiet, ""},
		{"another release's alert is another alert", []*grafana{with(instance("Alerting", long, "release", "other"))}, isQuiet, ""},
		{"another version's alert is another alert", []*grafana{with(instance("Alerting", long, "version", "v2"))}, isQuiet, ""},
		{
			"without an evaluation since, nothing is certain",
			[]*grafana{{evaluated: before, alerts: []grafanaInstance{instance("Normal", long)}}},
			isUnknown, "was not evaluated since",
		},
		{"an alert that was something else before may have fired", []*grafana{with(instance("Normal", after(time.Second)))}, isUnknown, "has changed its state"},
		{"of a pair, one that fires is enough", []*grafana{with(instance("Normal", long)), with(instance("Alerting", long))}, isFiring, ""},
		{"of a pair, one that does not answer may have it firing", []*grafana{with(instance("Normal", long)), {status: http.StatusBadGateway}}, isUnknown, "502"},

		{"no data is not bad data", []*grafana{with(instance("Alerting (NoData)", long))}, isUnknown, "Alerting (NoData)"},
		{"an error is not bad data", []*grafana{with(instance("Alerting (Error)", long))}, isUnknown, "Alerting (Error)"},
		{"a state that was kept without data is not bad data", []*grafana{with(instance("Alerting (NoData, KeepLast)", long))}, isUnknown, "KeepLast"},
		{"an alert without data says nothing", []*grafana{with(instance("NoData", long))}, isUnknown, "to Normal"},
		{"an alert with an error says nothing", []*grafana{with(instance("Error", long))}, isUnknown, "to Normal"},
		{"a rule that fails says nothing", []*grafana{{evaluated: since, health: "error", lastError: "bad query"}}, isUnknown, "fails: bad query"},
		{"nor do its alerts", []*grafana{{evaluated: since, health: "error", lastError: "bad query", alerts: []grafanaInstance{instance("Alerting", long)}}}, isUnknown, "fails: bad query"},

		{"an alert that no rule has is unproven", []*grafana{{name: "Other"}}, isUnproven, "no server in BACKOUT_GRAFANA_URLS has an alert rule named BadCanary"},
		{"a Grafana without a rule for backout denies nothing", []*grafana{{name: "Other", level: "none"}}, isUnknown, "no server in BACKOUT_GRAFANA_URLS has an alert rule with a backout label"},
		{"nor does one with a watchdog", []*grafana{{name: "Other", level: "watchdog"}}, isUnknown, "with a backout label"},
		{"an alert that fires without a level is unproven", []*grafana{with(instance("Alerting", long, "backout", ""))}, isUnproven, "fires in Grafana without a backout label"},
		{"an alert that fires without the release may be another's", []*grafana{with(instance("Alerting", long, "release", ""))}, isUnknown, "without the label release"},

		{"a token without the right", []*grafana{{status: http.StatusForbidden}}, isUnknown, "check BACKOUT_GRAFANA_TOKEN_FILE"},
		{"no Grafana", []*grafana{{status: http.StatusNotFound}}, isUnknown, "there is no Grafana API; check the path prefix in BACKOUT_GRAFANA_URLS"},
	} {
		t.Run(c.what, func(t *testing.T) {
			got := newGrafana(t, c.servers...).Firing(t.Context(), shop, badCanary, receipt)
			if got.Answer != c.want || !strings.Contains(got.Error, c.says) {
				t.Errorf("got %+v, want %s because of %q", got, c.want, c.says)
			}
			if strings.ContainsAny(got.Error, "\n") || strings.Contains(got.Error, "PROMETHEUS") {
				t.Errorf("a reason is one line, about Grafana: %q", got.Error)
			}
		})
	}
}

// The level is that of the firing alert in Grafana.
func TestTheLevelIsThatOfTheAlertInGrafana(t *testing.T) {
	g := &grafana{evaluated: receipt, alerts: []grafanaInstance{instance("Alerting", ago(time.Minute), "backout", "observe")}}
	if got := newGrafana(t, g).Firing(t.Context(), shop, badCanary, receipt); got.Answer != isFiring || got.Level != rollback.LevelObserve {
		t.Errorf("got %+v, want that it fires with the level observe", got)
	}
}

// Grafana says since when the alert fires: its condition was true for the pending period before
// that, and up to an evaluation longer.
func TestActiveSinceInGrafana(t *testing.T) {
	for _, ahead := range []time.Duration{0, time.Hour, -time.Hour} {
		for _, c := range []struct{ interval, duration, before float64 }{{10, 0, 0}, {10, 60, 70}, {60, 300, 360}} {
			g := &grafana{
				evaluated: receipt, interval: c.interval, duration: c.duration, clockAhead: ahead,
				alerts: []grafanaInstance{instance("Alerting", ago(20*time.Second))},
			}
			got := newGrafana(t, g).Firing(t.Context(), shop, badCanary, receipt)
			want := ago(20*time.Second + time.Duration(c.before)*time.Second)
			if late := got.ActiveSince.Sub(want); late > time.Second || late < -3*time.Second {
				t.Errorf("pending for %g s, evaluated every %g s, with a clock that is %s ahead: active since %s, want %s", c.duration, c.interval, ahead, got.ActiveSince, want)
			}
		}
	}
}

// Grafana forgets an alert whose series are gone: that it lists none says nothing about a moment
// that is long ago.
func TestGrafanaForgetsAlerts(t *testing.T) {
	for _, c := range []struct {
		age      time.Duration
		interval float64
		want     rollback.Answer
	}{
		{30 * time.Second, 10, isQuiet},
		{2 * time.Minute, 10, isUnknown},
		{2 * time.Minute, 300, isQuiet},
		{time.Hour, 300, isUnknown},
	} {
		g := &grafana{evaluated: time.Now().Add(time.Minute), interval: c.interval}
		got := newGrafana(t, g).Firing(t.Context(), shop, badCanary, time.Now().Add(-c.age))
		if got.Answer != c.want || c.want == isUnknown && !strings.Contains(got.Error, "does not list the alert") {
			t.Errorf("evaluated every %g s, %s ago: got %+v, want %s", c.interval, c.age, got, c.want)
		}
	}
}

// The evidence of an alert begins its window before the evaluation at which it was true.
func TestTheEvidenceInGrafana(t *testing.T) {
	fires := instance("Alerting", ago(time.Minute))
	for name, c := range map[string]struct {
		rule grafana
		want time.Duration
	}{
		"the annotation":              {grafana{window: "2m", alerts: []grafanaInstance{fires}}, 2 * time.Minute},
		"no annotation":               {grafana{alerts: []grafanaInstance{fires}}, 0},
		"keep firing for alone":       {grafana{window: "2m", alerts: []grafanaInstance{instance("Recovering", ago(time.Minute))}}, 0},
		"without data":                {grafana{window: "2m", alerts: []grafanaInstance{instance("Alerting (NoData)", ago(time.Minute))}}, 0},
		"another version":             {grafana{window: "2m", alerts: []grafanaInstance{instance("Alerting", ago(time.Minute), "version", "v2")}}, 0},
		"a clock that is hours ahead": {grafana{window: "2m", clockAhead: 3 * time.Hour, alerts: []grafanaInstance{fires}}, 2 * time.Minute},
	} {
		c.rule.evaluated = receipt
		from := newGrafana(t, &c.rule).EvidenceFrom(t.Context(), shop, badCanary)
		if c.want == 0 {
			if !from.IsZero() {
				t.Errorf("%s: evidence from %s, want that it is not known", name, from)
			}
			continue
		}
		if late := from.Sub(receipt.Add(-c.want)); late > 0 || late < -3*time.Second {
			t.Errorf("%s: evidence from %s, want %s before %s", name, from, c.want, receipt)
		}
	}
}

// backout presents the token of a service account, and reports a Grafana that cannot confirm.
func TestGrafanaGetsItsTokenAndIsWatched(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	write(t, file, "glsa_of_a_service_account\n")
	g, registry := &grafana{name: "Other", level: "none"}, prometheus.NewRegistry()
	address := g.start(t)
	if _, err := prom.New(prom.Options{Config: prom.Config{URLs: []string{"http://prometheus.example:9090"}}, Registerer: registry}); err != nil {
		t.Fatal(err)
	}
	client, err := prom.NewGrafana(prom.GrafanaOptions{Config: prom.GrafanaConfig{URLs: []string{address}, TokenFile: file}, Registerer: registry})
	if err != nil {
		t.Fatalf("both kinds of servers may be configured: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := client.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if len(g.asked) != 1 || g.asked[0].Header.Get("Authorization") != "Bearer glsa_of_a_service_account" || g.asked[0].FormValue("limit_alerts") != "0" {
		t.Errorf("got the requests %v, want one with the token, and without alerts", g.asked)
	}
	if problems := client.Problems(); len(problems) != 1 || !strings.Contains(problems[0], "Grafana "+strings.TrimPrefix(address, "http://")+" cannot confirm alerts") {
		t.Errorf("got the problems %q", problems)
	}
	if n := testutil.CollectAndCount(registry, "backout_prometheus_can_confirm"); n != 2 {
		t.Errorf("the servers of both kinds have %d series, want 2", n)
	}
}

func TestTheErrorsOfGrafanasConfigurationNameItsVariables(t *testing.T) {
	for want, c := range map[string]prom.GrafanaConfig{
		"BACKOUT_GRAFANA_URLS: address 1: want http://host:port":                                        {URLs: []string{"grafana:3000"}},
		"BACKOUT_GRAFANA_TOKEN_FILE and BACKOUT_GRAFANA_CA_FILE need BACKOUT_GRAFANA_URLS":              {TokenFile: "/run/token"},
		"BACKOUT_GRAFANA_CA_FILE has no effect, because no address in BACKOUT_GRAFANA_URLS begins with": {URLs: []string{"http://grafana"}, CAFile: "/run/ca"},
		"contains a password, and would not get the token of BACKOUT_GRAFANA_TOKEN_FILE":                {URLs: []string{"http://a:b@grafana"}, TokenFile: "/run/token"},
	} {
		if err := c.Validate(); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "PROMETHEUS") {
			t.Errorf("got %v, want %q", err, want)
		}
	}
}

// A rule with thousands of series, and a Grafana with thousands of rules, are read in parts. A Grafana
// that cannot do that says what to do.
func TestALargeGrafana(t *testing.T) {
	alerts := []grafanaInstance{instance("Alerting", ago(time.Minute))}
	for i := range 20000 {
		alerts = append(alerts, instance("Normal", ago(time.Minute), "release", fmt.Sprintf("release-%d", i)))
	}
	g := &grafana{evaluated: after(5 * time.Second), alerts: alerts}
	if got := newGrafana(t, g).Firing(t.Context(), shop, badCanary, receipt); got.Answer != isFiring {
		t.Errorf("of many series, one fires: got %+v", got)
	}
	g.old = true
	if got := newGrafana(t, g).Firing(t.Context(), shop, badCanary, receipt); got.Answer != isUnknown || !strings.Contains(got.Error, "larger than 4 MiB: split the rule") {
		t.Errorf("without matchers: got %+v", got)
	}

	many := &grafana{name: "Another", others: 2000}
	if got := newGrafana(t, many).Firing(t.Context(), shop, badCanary, receipt); got.Answer != isUnproven {
		t.Errorf("of many rules, the last one requests something: got %+v", got)
	}
	many.old = true
	client := newGrafana(t, many)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := client.Run(ctx); err != nil {
		t.Fatal(err)
	}
	if problems := client.Problems(); len(problems) != 1 || !strings.Contains(problems[0], "larger than 4 MiB: split the rule") || !strings.Contains(problems[0], "group_limit") {
		t.Errorf("without pages: got the problems %q", problems)
	}
}
