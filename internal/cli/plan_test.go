package cli

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/sethvargo/go-envconfig"

	"github.com/upcommerce/backout/rollback"
)

func TestAPlanReadsAlertsAsTheWebhookDoes(t *testing.T) {
	payload := `{"version":"4","status":"firing","alerts":[{"status":"firing","labels":{"alertname":"A","namespace":"shop","release":"web","backout":"shed"},` +
		`"startsAt":"2026-11-27T12:00:00Z","fingerprint":"f"}]}`
	p := &plan{env: envconfig.MapLookuper(nil), file: "-"}
	alerts, err := p.alerts(strings.NewReader(payload), nil)
	if err != nil || len(alerts) != 1 || alerts[0].Labels["backout"] != "shed" {
		t.Fatalf("a plan reads a payload as the webhook reads it: got %v, %v", alerts, err)
	}
	s, err := p.settings(t.Context(), alerts)
	if err != nil || !s.policy.Allows(rollback.Key{Namespace: "shop", Release: "web"}) || s.policy.Bake != 24*time.Hour {
		t.Errorf("without an environment the defaults apply, and the release is opted in: got %+v, %v", s.policy, err)
	}
	if text := strings.Join(s.assumed, "\n"); !strings.Contains(text, "the default limits") || !strings.Contains(text, "opted in") {
		t.Errorf("a plan says what it assumes: got %s", text)
	}
	p.env = envconfig.MapLookuper(map[string]string{"BACKOUT_RELEASES": "shop/*", "BACKOUT_BAKE": "1h", "BACKOUT_CLUSTER": "blue"})
	if s, err = p.settings(t.Context(), alerts); err != nil || s.policy.Bake != time.Hour || len(s.assumed) != 1 {
		t.Errorf("a plan reads the environment as the service reads it: got %+v, %v, %v", s.policy, s.assumed, err)
	}
	if _, set := alerts[0].Labels["cluster"]; set {
		t.Error("a plan changed the payload of Alertmanager")
	}
}

// A payload of Grafana is confirmed by Grafana; an alert that only flags describe is nowhere.
func TestAPlanAsksGrafanaAboutItsPayload(t *testing.T) {
	payload := `{"version":"1","orgId":1,"alerts":[{"status":"firing","labels":{"alertname":"A","namespace":"shop","release":"web","backout":"shed"},` +
		`"startsAt":"2026-11-27T12:00:00Z","fingerprint":"f","values":{"A":1}}]}`
	p := &plan{env: envconfig.MapLookuper(map[string]string{"BACKOUT_GRAFANA_URLS": "http://grafana:3000"}), file: "-"}
	alerts, err := p.alerts(strings.NewReader(payload), nil)
	if err != nil || len(alerts) != 1 || !alerts[0].OfGrafana {
		t.Fatalf("a plan reads a payload of Grafana: got %+v, %v", alerts, err)
	}
	if s, err := p.settings(t.Context(), alerts); err != nil || len(s.grafana.URLs) != 1 || alerts[0].Sender == nil || alerts[0].Sender.Confirm != rollback.ConfirmByGrafana || !strings.Contains(strings.Join(s.assumed, " "), "NAMESPACE:FILE:grafana") {
		t.Errorf("a plan asks Grafana, and says what it assumes: got %+v, %v, %v", s.grafana, s.assumed, err)
	}
	p.file = ""
	if s, err := p.settings(t.Context(), alerts); err != nil || len(s.grafana.URLs) != 0 {
		t.Errorf("a plan asks nothing about an alert without a name: got %+v, %v", s.grafana, err)
	}
}

func TestAPlanNeedsOneSourceOfAlerts(t *testing.T) {
	for _, args := range [][]string{{"plan"}, {"plan", "-f", "-", "shop/web"}, {"plan", "shop"}, {"plan", "-f", "/nowhere"}, {"plan", "shop/web", "-o", "xml"}} {
		if _, err := runProgram(t, "{}", append([]string{"backout"}, args...)...); err == nil {
			t.Errorf("%v is refused", args)
		}
	}
	if _, err := runProgram(t, `{"alerts":[]}`, "backout", "plan", "-f", "-"); err == nil || !strings.Contains(err.Error(), "want the JSON that Alertmanager or Grafana posts") {
		t.Errorf("the error about a file that is not a payload says what is wanted: got %v", err)
	}
}

func TestAPlanAsJSON(t *testing.T) {
	var out strings.Builder
	result := rollback.DryRunResult{Record: rollback.Record{Revision: 2}, Assumed: []string{"the default limits"}}
	if err := writeAs(&out, "json", dryRuns{[]rollback.DryRunResult{result}}); err != nil {
		t.Fatal(err)
	}
	var got struct {
		DryRuns []struct {
			Record  struct{ Revision int }
			Assumed []string
		} `json:"dryRuns"`
	}
	if err := json.Unmarshal([]byte(out.String()), &got); err != nil || len(got.DryRuns) != 1 || got.DryRuns[0].Record.Revision != 2 || len(got.DryRuns[0].Assumed) != 1 {
		t.Errorf("%v; want one dry run of revision 2 in:\n%s", err, out.String())
	}
}
