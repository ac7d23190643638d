package rules_test

import (
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/rules"
)

// own reads the rules about backout itself.
func own(t *testing.T) []rule {
	t.Helper()
	b, err := rules.Own()
	if err != nil {
		t.Fatal(err)
	}
	var f ruleFile
	if err := yaml.UnmarshalStrict(b, &f); err != nil {
		t.Fatal(err)
	}
	if len(f.Groups) != 1 || f.Groups[0].Name != "backout" {
		t.Fatalf("the rules about backout itself are one group, named backout: %d groups", len(f.Groups))
	}
	return f.Groups[0].Rules
}

// Alerts about backout itself go to the team: routed to backout, they would request a rollback of backout. Only the watchdog is routed
// there, and it requests nothing.
func TestAlertsAboutBackoutItselfDoNotGoToIt(t *testing.T) {
	for _, r := range own(t) {
		want := ""
		if r.Alert == "BackoutWatchdog" {
			want = "watchdog"
		}
		if r.Labels["backout"] != want {
			t.Errorf("%s has the label backout=%q, want %q", r.Alert, r.Labels["backout"], want)
		}
	}
}

func TestEveryAlertAboutBackoutItselfIsForTheTeam(t *testing.T) {
	for _, r := range own(t) {
		t.Run(r.Alert, func(t *testing.T) {
			checkPlaybook(t, r)
			if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
				t.Error("the alert has no summary or no description")
			}
			want := map[string]string{"BackoutWatchdog": "none", "BackoutNotificationsFailing": "warning", "BackoutRecordNotSigned": "warning", "BackoutPaused": "warning"}[r.Alert]
			if want == "" {
				want = "critical"
			}
			if r.Labels["severity"] != want {
				t.Errorf("severity %q, want %q", r.Labels["severity"], want)
			}
			if (r.For == "") != (r.Alert == "BackoutWatchdog") {
				t.Errorf("for %q: an alert that ends by itself must not page, and the watchdog fires at once", r.For)
			}
		})
	}
}
