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
	"github.com/upcommerce/backout/tests/sandbox"
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
      - {alert: Bad, expr: vector(1), labels: {namespace: web, release: shop, version: v3}}
      - {alert: Odd, expr: vector(1), labels: {namespace: web, release: shop, version: 'v"3\.*}'}}
      - {alert: Good, expr: vector(0) > 1, labels: {namespace: web, release: shop, version: v3}}
      - {alert: Pending, expr: vector(1), for: 1h, labels: {namespace: web, release: shop, version: v3}}
      - {alert: Waited, expr: vector(1), for: 3s, labels: {namespace: web, release: shop, version: v3}}
      - {alert: Passing, expr: vector(time()) < %[1]d, labels: {namespace: web, release: shop, version: v3}}
      - {alert: Kept, expr: vector(time()) < %[1]d, keep_firing_for: 1h, labels: {namespace: web, release: shop, version: v3}}
      - {alert: Relabelled, expr: vector(1), labels: {namespace: web, version: v3}}
      - {alert: Failing, expr: 'vector(1) + on() (vector(1) or label_replace(vector(1), "a", "b", "", ""))', labels: {namespace: web, release: shop, version: v3}}
`

// bound is what the caller of a shed gives.
const bound = 250 * time.Millisecond

// stage is a Prometheus with the rules and one without.
type stage struct {
	with, without *sandbox.Prometheus
	client        *prom.Client
	// received is just before the first of them was started, passed when Passing
	// ends.
	received, passed time.Time
}

var shop = rollback.Key{Namespace: "web", Release: "shop"}

func start(t *testing.T) *stage {
	t.Helper()
	s := sandbox.Start(t)
	// The one with the rules starts last, so that it is asked from its first moment.
	without, err := s.Prometheus(t.Context(), sandbox.PrometheusOptions{Name: "without", Port: 9091})
	if err != nil {
		t.Fatal(err)
	}
	received := time.Now()
	st := &stage{without: without, received: received, passed: received.Add(8 * time.Second)}
	file := filepath.Join(t.TempDir(), "rules.yml")
	if err := os.WriteFile(file, fmt.Appendf(nil, rules, st.passed.Unix()), 0o600); err != nil {
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

// ask asks as the engine does before a shed.
func ask(t *testing.T, c *prom.Client, alert, version string, at time.Time) rollback.Confirmation {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	return c.Firing(ctx, shop, rollback.Accusation{Alert: alert, Version: version}, at)
}

// eventually asks until the answer is there, and fails if another one but Unknown
// comes before it.
func eventually(t *testing.T, want rollback.Answer, question func() rollback.Confirmation) rollback.Confirmation {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for {
		got := question()
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
		got := eventually(t, rollback.AnswerFiring, func() rollback.Confirmation { return ask(t, st.client, "Bad", "v3", st.received) })
		if got.ActiveSince.Before(st.received.Truncate(time.Second)) || got.ActiveSince.After(time.Now()) {
			t.Errorf("active-since is when the rule was first true, after %s: got %s", st.received, got.ActiveSince)
		}
		if series, err := st.with.Query(t.Context(), "ALERTS"); err != nil || len(series) > 0 {
			t.Logf("it was found in the storage, not in the memory: %v %v", series, err)
		}
	})
	t.Run("what does not fire is quiet once evaluated", func(t *testing.T) { st.quiet(t) })
	t.Run("what cannot be known is unknown", func(t *testing.T) { st.unknown(t) })
	t.Run("labels tell alerts apart", func(t *testing.T) { st.labels(t) })
	t.Run("active-since is before the rule's for", func(t *testing.T) { st.waited(t) })
	t.Run("an alert that was quieted did fire at its receipt", func(t *testing.T) { st.quieted(t) })
	t.Run("traffic", func(t *testing.T) { st.traffic(t) })
	t.Run("a frozen server", func(t *testing.T) { st.frozen(t) })
}

func (st *stage) quiet(t *testing.T) {
	t.Helper()
	now := time.Now()
	if got := ask(t, st.client, "Good", "v3", now); got.Answer != rollback.AnswerUnknown || !strings.Contains(got.Error, "was not evaluated since") {
		t.Errorf("nobody knows what an evaluation to come will find: %+v", got)
	}
	eventually(t, rollback.AnswerQuiet, func() rollback.Confirmation { return ask(t, st.client, "Good", "v3", now) })
	if got := ask(t, st.client, "Pending", "v3", now); got.Answer != rollback.AnswerQuiet {
		t.Errorf("a pending alert does not fire: %+v", got)
	}
}

func (st *stage) unknown(t *testing.T) {
	t.Helper()
	for alert, says := range map[string]string{
		"Nobody":     "no server in BACKOUT_PROMETHEUS_URLS has an alert rule named Nobody",
		"Failing":    "the rule Failing fails: ",
		"Relabelled": "fires there without the label release",
	} {
		got := ask(t, st.client, alert, "v3", st.received)
		t.Logf("%s: %s", alert, got.Error)
		if got.Answer != rollback.AnswerUnknown || !strings.Contains(got.Error, says) {
			t.Errorf("%s: want unknown, %q; got %+v", alert, says, got)
		}
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
		{`Bad"} or vector(1)`, "v3", rollback.AnswerUnknown},
	} {
		if got := ask(t, st.client, c.alert, c.version, st.received); got.Answer != c.want {
			t.Errorf("%s of version %s: want %s, got %+v", c.alert, c.version, c.want, got)
		}
	}
}

func (st *stage) waited(t *testing.T) {
	t.Helper()
	bad := eventually(t, rollback.AnswerFiring, func() rollback.Confirmation { return ask(t, st.client, "Bad", "v3", time.Now()) })
	// It is not evaluated as firing before its time: asked about the present, nobody knows.
	waited := eventually(t, rollback.AnswerFiring, func() rollback.Confirmation { return ask(t, st.client, "Waited", "v3", time.Now()) })
	if d := waited.ActiveSince.Sub(bad.ActiveSince).Abs(); d > time.Second {
		t.Errorf("both rules are true since the same evaluation: %s and %s", bad.ActiveSince, waited.ActiveSince)
	}
}

func (st *stage) quieted(t *testing.T) {
	t.Helper()
	receipt := time.Now()
	if receipt.After(st.passed) {
		t.Fatalf("the machine is too slow: Passing ended at %s", st.passed)
	}
	// By then it has been quiet for longer than the margin, however that is rounded.
	time.Sleep(time.Until(st.passed.Add(13 * time.Second)))
	now := time.Now()
	if got := ask(t, st.client, "Passing", "v3", receipt); got.Answer != rollback.AnswerFiring {
		t.Errorf("it fired at %s, though not any more: %+v", receipt, got)
	}
	eventually(t, rollback.AnswerQuiet, func() rollback.Confirmation { return ask(t, st.client, "Passing", "v3", now) })
	if got := ask(t, st.client, "Kept", "v3", now); got.Answer != rollback.AnswerFiring || got.ActiveSince.After(st.passed) {
		t.Errorf("keep_firing_for keeps it firing, and since when it was true: %+v", got)
	}
}

func (st *stage) traffic(t *testing.T) {
	t.Helper()
	const short = `sum by (pod) (rate(http_requests_total{namespace="$namespace",release="$release",track="canary"}[5s]))`
	for _, c := range []struct {
		what, query, release string
		low, high            float64
	}{
		{"both pods of the canary, and nobody else's", short, "shop", 11.9, 12.1},
		{"a release that nobody counts", short, "none", 0, 0},
		// The server is too young for its window: how much it extrapolates is its own affair.
		{"the default query", "", "shop", 1, 12.1},
	} {
		// The server without the samples would say 0, as it should, if it were first.
		client, err := prom.New(prom.Options{Config: prom.Config{URLs: []string{st.with.URL()}, TrafficQuery: c.query}})
		if err != nil {
			t.Fatal(err)
		}
		got, err := client.CanaryTraffic(t.Context(), rollback.Key{Namespace: "web", Release: c.release}, time.Now())
		if err != nil || got < c.low || got > c.high {
			t.Errorf("%s: between %g and %g requests a second: got %g, %v", c.what, c.low, c.high, got, err)
		}
	}
}

// frozen stops one of two servers: the other one's word decides only if it is firing.
func (st *stage) frozen(t *testing.T) {
	t.Helper()
	now := time.Now()
	eventually(t, rollback.AnswerQuiet, func() rollback.Confirmation { return ask(t, st.client, "Good", "v3", now) })
	if err := st.without.Child().Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(st.without.URL())
	if err != nil {
		t.Fatal(err)
	}
	if got := ask(t, st.client, "Good", "v3", now); got.Answer != rollback.AnswerUnknown || got.Error != u.Host+": no answer in time" {
		t.Errorf("a frozen server may know better: %+v", got)
	}
	if got := ask(t, st.client, "Bad", "v3", now); got.Answer != rollback.AnswerFiring {
		t.Errorf("a frozen server delays nobody: %+v", got)
	}
	if err := st.without.Child().Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, rollback.AnswerQuiet, func() rollback.Confirmation { return ask(t, st.client, "Good", "v3", now) })
}
