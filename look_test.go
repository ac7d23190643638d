package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/sethvargo/go-envconfig"

	"github.com/upcommerce/backout/rollback"
)

// typed runs the program as if it had been called in that way, without a cluster.
func typed(t *testing.T, input string, args ...string) (string, error) {
	t.Helper()
	t.Setenv("KUBECONFIG", t.TempDir()+"/none")
	t.Setenv("HOME", t.TempDir())
	cmd := newCommand(envconfig.MapLookuper(nil), args)
	var out bytes.Buffer
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SetIn(strings.NewReader(input))
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestParseRevision(t *testing.T) {
	web := rollback.Key{Namespace: "shop", Release: "web"}
	for _, c := range []struct {
		text     string
		revision int
		wrong    bool
	}{
		{"shop/web", 0, false},
		{"shop/web/7", 7, false},
		{"web", 0, true},
		{"shop/web/0", 0, true},
		{"shop/web/x", 0, true},
		{"shop/web/7/8", 0, true},
		{"/web/7", 0, true},
	} {
		k, revision, err := parseRevision(c.text)
		if (err != nil) != c.wrong || err == nil && (k != web || revision != c.revision) {
			t.Errorf("%q: want revision %d, wrong %t; got %s %d, %v", c.text, c.revision, c.wrong, k, revision, err)
		}
	}
}

func TestTheTable(t *testing.T) {
	at := time.Now().Add(-3 * time.Minute)
	done := func(after time.Duration) *rollback.Step {
		return &rollback.Step{Started: at, Done: at.Add(after), Attempts: 1}
	}
	var out bytes.Buffer
	err := printTable(&out, []rollback.Record{
		{
			Key: rollback.Key{Namespace: "shop", Release: "web"}, Revision: 2, Opened: at, Closed: at.Add(time.Minute),
			Decisions: []rollback.Decision{{Verdict: rollback.Act}}, Shed: done(34 * time.Millisecond), Rollback: done(532 * time.Millisecond),
			Weights: []rollback.Weight{{From: "20", To: "0"}}, Target: 1, Outcome: rollback.Recovered,
		},
		{
			Key: rollback.Key{Namespace: "shop", Release: "api"}, Revision: 11, Opened: at, Closed: at,
			Decisions: []rollback.Decision{{Verdict: rollback.Observe}},
		},
	})
	want := `AGE   RELEASE    REVISION   VERDICT   STATE       DONE                        TO ZERO   TO ROLLED BACK
3m    shop/web   2          act       recovered   rolled back to revision 1   0.034s    0.532s
3m    shop/api   11         observe   untouched   -                           -         -
`
	if got := out.String(); err != nil || got != want {
		t.Errorf("the table is, %v:\n%s\nwant\n%s", err, got, want)
	}
}

func TestAsAPluginOfKubectl(t *testing.T) {
	for called, want := range map[string]string{
		"/usr/bin/backout": "backout explain NAMESPACE/RELEASE", "/usr/bin/kubectl-backout": "kubectl backout explain NAMESPACE/RELEASE",
	} {
		text, err := typed(t, "", called, "explain", "--help")
		if err != nil || !strings.Contains(text, want) {
			t.Errorf("called as %s the usage says %q: got %v %s", called, want, err, text)
		}
	}
	if text, err := typed(t, "", "kubectl-backout"); err != nil || !strings.Contains(text, "Usage:") {
		t.Errorf("a plugin without a command helps and does not serve: got %v %s", err, text)
	}
	text, err := typed(t, "", "kubectl_complete-backout", "ex")
	if err != nil || !strings.HasPrefix(text, "explain\t") {
		t.Errorf("kubectl asks the plugin for completions by another name: got %v %q", err, text)
	}
}

func TestPlanReadsAlerts(t *testing.T) {
	payload := `{"version":"4","status":"firing","alerts":[{"status":"firing","labels":{"alertname":"A","namespace":"shop","release":"web","backout":"shed"},` +
		`"startsAt":"2026-11-27T12:00:00Z","fingerprint":"f"}]}`
	p := &planning{env: envconfig.MapLookuper(nil), file: "-"}
	alerts, err := p.alerts(strings.NewReader(payload), nil)
	if err != nil || len(alerts) != 1 || alerts[0].Labels["backout"] != "shed" {
		t.Fatalf("a payload is read as the webhook reads it: got %v, %v", alerts, err)
	}
	policy, _, assumed, err := p.settings(t.Context(), alerts)
	if err != nil || !policy.Allows(rollback.Key{Namespace: "shop", Release: "web"}) || policy.Bake != 24*time.Hour {
		t.Errorf("without an environment the defaults hold, and the release is opted in: got %+v, %v", policy, err)
	}
	if text := strings.Join(assumed, "\n"); !strings.Contains(text, "the default limits") || !strings.Contains(text, "opted in") {
		t.Errorf("what is assumed is said: got %s", text)
	}
	p.env = envconfig.MapLookuper(map[string]string{"BACKOUT_RELEASES": "shop/*", "BACKOUT_BAKE": "1h", "BACKOUT_CLUSTER": "blue"})
	if policy, _, assumed, err = p.settings(t.Context(), alerts); err != nil || policy.Bake != time.Hour || len(assumed) != 1 {
		t.Errorf("the environment is read as the service reads it: got %+v, %v, %v", policy, assumed, err)
	}
	if _, set := alerts[0].Labels["cluster"]; set {
		t.Error("what Alertmanager posted is not changed")
	}
	for _, args := range [][]string{{"plan"}, {"plan", "-f", "-", "shop/web"}, {"plan", "shop"}, {"plan", "-f", "/nowhere"}, {"plan", "shop/web", "-o", "xml"}} {
		if _, err := typed(t, "{}", append([]string{"backout"}, args...)...); err == nil {
			t.Errorf("%v is refused", args)
		}
	}
	if _, err := typed(t, `{"alerts":[]}`, "backout", "plan", "-f", "-"); err == nil || !strings.Contains(err.Error(), "want the JSON that Alertmanager posts") {
		t.Errorf("what is no payload is refused with what is wanted: got %v", err)
	}
}
