package prom_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/prom"
	"github.com/upcommerce/backout/tests/env/sandbox"
)

// The rule file. %d is a time: Passing fires from the start until then.
const rules = `
groups:
  - name: canary
    interval: 1s
    rules:
      - {record: http_requests_total, expr: vector(time() * 7), labels: {namespace: web, release: shop, track: canary, pod: a}}
      - {record: http_requests_total, expr: vector(time() * 5), labels: {namespace: web, release: shop, track: canary, pod: b}}
      - {record: http_requests_total, expr: vector(time() * 3), labels: {namespace: web, release: shop, track: stable}}
      - {alert: Bad, expr: vector(1), labels: {backout: rollback, namespace: web, release: shop, version: v3}, annotations: {window: 10s}}
      - {alert: Odd, expr: vector(1), labels: {backout: rollback, namespace: web, release: shop, version: 'v"3\.*}'}}
      - {alert: Good, expr: vector(0) > 1, labels: {backout: rollback, namespace: web, release: shop, version: v3}}
      - {alert: Pending, expr: vector(1), for: 1h, labels: {backout: rollback, namespace: web, release: shop, version: v3}}
      - {alert: Waited, expr: vector(1), for: %[2]s, labels: {backout: rollback, namespace: web, release: shop, version: v3}}
      - {alert: Passing, expr: vector(time()) < %[1]d, labels: {backout: rollback, namespace: web, release: shop, version: v3}}
      - {alert: Kept, expr: vector(time()) < %[1]d, keep_firing_for: 1h, labels: {backout: rollback, namespace: web, release: shop, version: v3}, annotations: {window: 10s}}
      - {alert: Relabelled, expr: vector(1), labels: {backout: rollback, namespace: web, version: v3}}
      - {alert: Failing, expr: 'vector(1) + on() (vector(1) or label_replace(vector(1), "a", "b", "", ""))', labels: {backout: rollback, namespace: web, release: shop, version: v3}}
      - {alert: Observed, expr: vector(1), labels: {backout: observe, namespace: web, release: shop, version: v3}}
      - {alert: Weakened, expr: vector(1), labels: {backout: shed, namespace: web, release: shop, version: v3}}
      - {alert: Unlabelled, expr: vector(1), labels: {severity: warning, namespace: web, release: shop, version: v3}}
      - {record: ALERTS, expr: vector(1), labels: {alertname: Forged, alertstate: firing, backout: rollback, namespace: web, release: shop, version: v3}}
`

// waitedFor is how long the alert Waited is pending.
const waitedFor = 3 * time.Second

// bound is the time limit that the engine sets before a shed.
const bound = 250 * time.Millisecond

// stage is a Prometheus with the rules and one without them.
type stage struct {
	with, without *sandbox.Prometheus
	client        *prom.Client
	// received is just before the start of the one with the rules, passed when
	// Passing ends.
	received, passed time.Time
}

var shop = rollback.Key{Namespace: "web", Release: "shop"}

func start(t *testing.T) *stage {
	t.Helper()
	s := sandbox.Start(t)
	// The one with the rules starts last, so that it is queried from its first moment.
	without, err := s.Prometheus(t.Context(), sandbox.PrometheusOptions{Name: "without", Port: 9091})
	if err != nil {
		t.Fatal(err)
	}
	received := time.Now()
	st := &stage{without: without, received: received, passed: received.Add(8 * time.Second)}
	file := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(file, fmt.Appendf(nil, rules, st.passed.Unix(), waitedFor), 0o600); err != nil {
		t.Fatal(err)
	}
	if st.with, err = s.Prometheus(t.Context(), sandbox.PrometheusOptions{RuleFiles: []string{file}}); err != nil {
		t.Fatal(err)
	}
	st.client = client(t, st.with.URL(), st.without.URL())
	return st
}

func client(t *testing.T, urls ...string) *prom.Client {
	t.Helper()
	c, err := prom.New(prom.Options{Config: prom.Config{URLs: urls}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// firing queries as the engine does before a shed.
func firing(t *testing.T, c *prom.Client, alert, version string, at time.Time) rollback.Confirmation {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	return c.Firing(ctx, shop, rollback.Signal{Alert: alert, Version: version, Level: rollback.LevelRollback}, at)
}

// eventually queries until it gets the wanted answer, and fails if it gets another one
// than Unknown before.
func eventually(t *testing.T, want rollback.Answer, query func() rollback.Confirmation) rollback.Confirmation {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		got := query()
		if got.Answer == want {
			return got
		}
		if got.Answer != rollback.AnswerUnknown || time.Now().After(deadline) {
			t.Fatalf("want %s, got %+v", want, got)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func TestARealPrometheus(t *testing.T) {
	t.Parallel()
	st := start(t)
	// Alerts fire at once, but their samples are stored from the third evaluation on.
	t.Run("an alert that fires from the start is never quiet", func(t *testing.T) {
		got := eventually(t, rollback.AnswerFiring, func() rollback.Confirmation { return firing(t, st.client, "Bad", "v3", st.received) })
		if got.ActiveSince.Before(st.received.Truncate(time.Second)) || got.ActiveSince.After(time.Now()) {
			t.Errorf("active since %s, want when the rule was first true, after %s", got.ActiveSince, st.received)
		}
		if series, err := st.with.Query(t.Context(), "ALERTS"); err != nil || len(series) > 0 {
			t.Logf("it was found in the storage, not in the memory: %v %v", series, err)
		}
	})
	t.Run("an alert that does not fire is quiet once evaluated", func(t *testing.T) { st.quiet(t) })
	t.Run("rules that cannot be evaluated are unknown", func(t *testing.T) { st.unknown(t) })
	t.Run("an alert that no rule proves is unproven", func(t *testing.T) { st.unproven(t) })
	t.Run("the level is that of the rule", func(t *testing.T) { st.levels(t) })
	t.Run("a server without backout's rules cannot confirm", func(t *testing.T) { st.cannotConfirm(t) })
	t.Run("labels distinguish alerts", func(t *testing.T) { st.labels(t) })
	t.Run("active-since is before the rule's for", func(t *testing.T) { st.waited(t) })
	t.Run("an alert that is over did fire at its receipt", func(t *testing.T) { st.over(t) })
	t.Run("evidence is what the rule looked back on", func(t *testing.T) { st.evidence(t) })
	t.Run("traffic", func(t *testing.T) { st.traffic(t) })
	t.Run("a frozen server", func(t *testing.T) { st.frozen(t) })
}

func (st *stage) quiet(t *testing.T) {
	t.Helper()
	now := time.Now()
	got := firing(t, st.client, "Good", "v3", now)
	if got.Answer == rollback.AnswerQuiet { // an evaluation came in between; the next one is a second away
		now = time.Now()
		got = firing(t, st.client, "Good", "v3", now)
	}
	if got.Answer != rollback.AnswerUnknown || !strings.Contains(got.Error, "was not evaluated since") {
		t.Errorf("want unknown before the next evaluation, got %+v", got)
	}
	eventually(t, rollback.AnswerQuiet, func() rollback.Confirmation { return firing(t, st.client, "Good", "v3", now) })
	if got := firing(t, st.client, "Pending", "v3", now); got.Answer != rollback.AnswerQuiet {
		t.Errorf("a pending alert is quiet, got %+v", got)
	}
}

func (st *stage) unknown(t *testing.T) {
	t.Helper()
	for alert, says := range map[string]string{
		"Failing":    "the rule Failing fails: ",
		"Relabelled": "fires there without the label release",
	} {
		got := firing(t, st.client, alert, "v3", st.received)
		t.Logf("%s: %s", alert, got.Error)
		if got.Answer != rollback.AnswerUnknown || !strings.Contains(got.Error, says) {
			t.Errorf("%s: want unknown, %q; got %+v", alert, says, got)
		}
	}
}

// unproven has the attack inputs that Prometheus can judge at once: nothing is shed for
// them.
func (st *stage) unproven(t *testing.T) {
	t.Helper()
	for alert, says := range map[string]string{
		"Invented":   "no server in BACKOUT_PROMETHEUS_URLS has an alert rule named Invented",
		"Unlabelled": "the alert Unlabelled fires in Prometheus without a backout label",
		"Forged":     "has an alert rule named Forged",
	} {
		// The time of the receipt is now, as for an alert that has just come.
		got := firing(t, st.client, alert, "v3", time.Now())
		if got.Answer != rollback.AnswerUnproven || !strings.Contains(got.Error, says) {
			t.Errorf("%s: want unproven, %q; got %+v", alert, says, got)
		}
	}
	if series, err := st.with.Query(t.Context(), `ALERTS{alertname="Forged"}`); err != nil || len(series) != 1 {
		t.Errorf("the samples of the alert Forged exist, and prove nothing: got %v, %v", series, err)
	}
}

func (st *stage) levels(t *testing.T) {
	t.Helper()
	for alert, want := range map[string]rollback.Level{
		"Bad": rollback.LevelRollback, "Weakened": rollback.LevelShed, "Observed": rollback.LevelObserve,
	} {
		if got := firing(t, st.client, alert, "v3", time.Now()); got.Answer != rollback.AnswerFiring || got.Level != want {
			t.Errorf("%s: want firing with the level %s, got %+v", alert, want, got)
		}
	}
}

func (st *stage) cannotConfirm(t *testing.T) {
	t.Helper()
	alone := client(t, st.without.URL())
	for _, alert := range []string{"Invented", "Bad"} {
		if got := firing(t, alone, alert, "v3", st.received); got.Answer != rollback.AnswerUnknown || !strings.Contains(got.Error, "has an alert rule with a backout label") {
			t.Errorf("%s: a server that does not evaluate the rules denies nothing; got %+v", alert, got)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := st.client.Run(ctx); err != nil {
		t.Error(err)
	}
	if got := st.client.Problems(); len(got) != 1 || !strings.Contains(got[0], "it has no alert rule with a backout label") {
		t.Errorf("one of the two servers cannot confirm alerts: got %q", got)
	}
}

func (st *stage) labels(t *testing.T) {
	t.Helper()
	for _, c := range []struct {
		alert, version string
		want           rollback.Answer
	}{
		{"Bad", "v3", rollback.AnswerFiring},
		{"Bad", "", rollback.AnswerFiring},
		{"Bad", "v2", rollback.AnswerQuiet},
		{"Bad", "v.*", rollback.AnswerQuiet},
		{"Bad", `v2"} or vector(1) or ALERTS{version="v3`, rollback.AnswerFiring}, // not compared: it has spaces
		{"Bad", `v2"}or(vector(1))or`, rollback.AnswerQuiet},
		{"Odd", `v"3\.*}`, rollback.AnswerFiring},
		{`Bad"} or vector(1)`, "v3", rollback.AnswerUnproven},
	} {
		if got := firing(t, st.client, c.alert, c.version, st.received); got.Answer != c.want {
			t.Errorf("%s of version %s: want %s, got %+v", c.alert, c.version, c.want, got)
		}
	}
}

func (st *stage) waited(t *testing.T) {
	t.Helper()
	bad := eventually(t, rollback.AnswerFiring, func() rollback.Confirmation { return firing(t, st.client, "Bad", "v3", time.Now()) })
	// Before its time it is pending: the answer is quiet if an evaluation comes between the question and the answer. Every evaluation
	// after its time lets it fire.
	time.Sleep(time.Until(bad.ActiveSince.Add(waitedFor + 100*time.Millisecond)))
	waited := eventually(t, rollback.AnswerFiring, func() rollback.Confirmation { return firing(t, st.client, "Waited", "v3", time.Now()) })
	if d := waited.ActiveSince.Sub(bad.ActiveSince).Abs(); d > time.Second {
		t.Errorf("both rules are true since the same evaluation, got %s and %s", bad.ActiveSince, waited.ActiveSince)
	}
}

func (st *stage) over(t *testing.T) {
	t.Helper()
	receipt := time.Now()
	if receipt.After(st.passed) {
		t.Fatalf("the machine is too slow: Passing ended at %s", st.passed)
	}
	// After this time it has been quiet for longer than the margin, in any rounding.
	time.Sleep(time.Until(st.passed.Add(13 * time.Second)))
	now := time.Now()
	if got := firing(t, st.client, "Passing", "v3", receipt); got.Answer != rollback.AnswerFiring {
		t.Errorf("it fired at %s, although it is over now; got %+v", receipt, got)
	}
	eventually(t, rollback.AnswerQuiet, func() rollback.Confirmation { return firing(t, st.client, "Passing", "v3", now) })
	if got := firing(t, st.client, "Kept", "v3", now); got.Answer != rollback.AnswerFiring || got.ActiveSince.After(st.passed) {
		t.Errorf("keep_firing_for keeps the alert firing, and keeps its active-since; got %+v", got)
	}
}

// evidence is asked for when Kept fires because of keep_firing_for alone.
func (st *stage) evidence(t *testing.T) {
	t.Helper()
	const window = 10 * time.Second
	bad := rollback.Signal{Alert: "Bad", Version: "v3"}
	if age := time.Since(st.client.EvidenceFrom(t.Context(), shop, bad)); age < window || age > window+3*time.Second {
		t.Errorf("the evidence of Bad is from %s ago, want its window of %s before the last evaluation", age, window)
	}
	for _, alert := range []string{"Kept", "Good", "Pending"} {
		if from := st.client.EvidenceFrom(t.Context(), shop, rollback.Signal{Alert: alert, Version: "v3"}); !from.IsZero() {
			t.Errorf("the evidence of %s is from %s, want none: its condition is not true", alert, from)
		}
	}
}

func (st *stage) traffic(t *testing.T) {
	t.Helper()
	const short = `sum by (pod) (rate(http_requests_total{namespace="$namespace",release="$release",track="canary"}[5s]))`
	for _, c := range []struct {
		name, query, release string
		low, high            float64
	}{
		{"only the canary's two pods", short, "shop", 11.9, 12.1},
		{"a release without samples", short, "none", 0, 0},
		// The server is younger than the query's window: its extrapolation is not the test's concern.
		{"the default query", "", "shop", 1, 12.1},
	} {
		// Only the server with the samples: the other one would correctly answer 0.
		client, err := prom.New(prom.Options{Config: prom.Config{URLs: []string{st.with.URL()}, TrafficQuery: c.query}})
		if err != nil {
			t.Fatal(err)
		}
		got, err := client.CanaryTraffic(t.Context(), rollback.Key{Namespace: "web", Release: c.release}, time.Now())
		if err != nil || got < c.low || got > c.high {
			t.Errorf("%s: got %g, %v; want between %g and %g requests per second", c.name, got, err, c.low, c.high)
		}
	}
}

// frozen stops one of two servers: the answer of the other decides only if the alert fires there.
func (st *stage) frozen(t *testing.T) {
	t.Helper()
	now := time.Now()
	eventually(t, rollback.AnswerQuiet, func() rollback.Confirmation { return firing(t, st.client, "Good", "v3", now) })
	if err := st.without.Child().Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(st.without.URL())
	if err != nil {
		t.Fatal(err)
	}
	if got := firing(t, st.client, "Good", "v3", now); got.Answer != rollback.AnswerUnknown || got.Error != u.Host+": no answer in time" {
		t.Errorf("want unknown: the alert may fire on the frozen server; got %+v", got)
	}
	if got := firing(t, st.client, "Bad", "v3", now); got.Answer != rollback.AnswerFiring {
		t.Errorf("a frozen server must not delay the answer, got %+v", got)
	}
	if err := st.without.Child().Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, rollback.AnswerQuiet, func() rollback.Confirmation { return firing(t, st.client, "Good", "v3", now) })
}
