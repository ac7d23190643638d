package rules_test

import (
	"bytes"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/upcommerce/backout/rules"
)

// finished is the committed rule file of the default preset.
const finished = "canary.rules.yml"

// UPDATE=1 rewrites it.
func TestTheFinishedFileIsUpToDate(t *testing.T) {
	want := assemble(t, rules.Options{})
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(finished, want, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(finished)
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%s does not match its fragments (%v): run UPDATE=1 go test ./rules", finished, err)
	}
}

func assemble(t *testing.T, o rules.Options) []byte {
	t.Helper()
	b, err := rules.Assemble(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPresets(t *testing.T) {
	want := []string{"app", "app-native", "envoy-gateway", "ingress-nginx", "istio", "linkerd", "traefik"}
	if got := rules.Presets(); !slices.Equal(got, want) {
		t.Errorf("presets: %q, want %q", got, want)
	}
	_, err := rules.Assemble(rules.Options{Preset: "haproxy"})
	if err == nil || !strings.Contains(err.Error(), strings.Join(want, ", ")) {
		t.Errorf("the error for an unknown preset must name those that exist: %v", err)
	}
}

// A sensitivity changes thresholds and levels, and nothing else: each needs no larger difference than the one before, and reports no
// more alerts in place of a rollback.
func TestSensitivities(t *testing.T) {
	plain := parse(t, assemble(t, rules.Options{}))
	limits, levels := map[string]string{}, map[string]string{}
	for _, sensitivity := range rules.Sensitivities() {
		all := parse(t, assemble(t, rules.Options{Sensitivity: sensitivity}))
		for i, r := range all {
			switch kind := r.Labels["kind"]; {
			case r.Record == "canary_threshold":
				if was, ok := limits[kind]; ok && number(t, r.Expr) > number(t, was) {
					t.Errorf("%s: %s is %s, more than %s of the sensitivity before", sensitivity, kind, r.Expr, was)
				}
				limits[kind] = r.Expr
			case r.Expr != plain[i].Expr:
				t.Errorf("%s changes the expression of %s%s", sensitivity, r.Record, r.Alert)
			case r.Alert != "":
				if levels[r.Alert] == "rollback" && r.Labels["backout"] != "rollback" {
					t.Errorf("%s: %s asks for %s, and for a rollback at the sensitivity before", sensitivity, r.Alert, r.Labels["backout"])
				}
				if observed := r.Labels["backout"] == "observe"; observed != (r.Labels["severity"] == "warning" && r.Alert != "BothTracksFail") {
					t.Errorf("%s: %s has the level %s and the severity %s", sensitivity, r.Alert, r.Labels["backout"], r.Labels["severity"])
				}
				levels[r.Alert] = r.Labels["backout"]
			}
		}
	}
	if _, err := rules.Assemble(rules.Options{Sensitivity: "bold"}); err == nil || !strings.Contains(err.Error(), "careful, balanced, eager") {
		t.Errorf("the error for an unknown sensitivity must name those that exist: %v", err)
	}
}

func number(t *testing.T, vector string) float64 {
	t.Helper()
	f, err := strconv.ParseFloat(strings.Trim(vector, "vector()"), 64)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestOnlyTheGivenThresholdsChange(t *testing.T) {
	plain := parse(t, assemble(t, rules.Options{}))
	set := parse(t, assemble(t, rules.Options{Thresholds: map[string]float64{"z": 4.75, "error_budget": 1e-4}}))
	var changed []string
	for i, r := range set {
		if r.Expr != plain[i].Expr {
			changed = append(changed, r.Labels["kind"]+" "+r.Expr)
		}
	}
	if want := []string{"z vector(4.75)", "error_budget vector(0.0001)"}; !slices.Equal(changed, want) {
		t.Errorf("changed: %q, want %q", changed, want)
	}
	_, err := rules.Assemble(rules.Options{Thresholds: map[string]float64{"Z": 4.5}})
	if err == nil || !strings.Contains(err.Error(), "z, z_slow") {
		t.Errorf("the error for an unknown threshold must name those that exist: %v", err)
	}
}
