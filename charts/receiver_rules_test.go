package charts_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v3/pkg/action"
	"helm.sh/helm/v3/pkg/chart/loader"
	"sigs.k8s.io/yaml"
)

// ruleGroups are the groups of a rule file.
type ruleGroups struct{ Groups []monitoringv1.RuleGroup }

func shipped(t *testing.T, set string) []monitoringv1.RuleGroup {
	t.Helper()
	return one[*monitoringv1.PrometheusRule](t, receiver{set: set}.operated().render(t), "PrometheusRule backout/backout").Spec.Groups
}

// rulesIn reads the one group of a rule file in rules/.
func rulesIn(t *testing.T, file string) []monitoringv1.Rule {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "rules", file))
	if err != nil {
		t.Fatal(err)
	}
	var read ruleGroups
	if err := yaml.UnmarshalStrict(text, &read); err != nil || len(read.Groups) != 1 {
		t.Fatalf("%s has %d groups, want one: %v", file, len(read.Groups), err)
	}
	return read.Groups[0].Rules
}

// The rules exist once, in rules/: the chart ships the rules that promtool tests.
func TestReceiverShipsTheRulesAsTheyAre(t *testing.T) {
	app, own := rulesIn(t, "canary.rules.yml"), monitoringv1.RuleGroup{Name: "backout", Rules: rulesIn(t, "backout.rules.yml")}
	if diff := cmp.Diff([]monitoringv1.RuleGroup{{Name: "canary", Rules: app}, own}, shipped(t, "")); diff != "" {
		t.Errorf("the chart's rules differ from rules/canary.rules.yml (-rules +chart):\n%s", diff)
	}
	if got := shipped(t, "rules.own=false"); len(got) != 1 || got[0].Name != "canary" {
		t.Errorf("rules.own=false leaves %d groups, want only the canaries'", len(got))
	}
	// Another preset replaces only the source.
	source := rulesIn(t, "sources/app.yml")
	at := slices.IndexFunc(app, func(r monitoringv1.Rule) bool { return cmp.Equal(r, source[0]) })
	if at < 0 {
		t.Fatal("rules/canary.rules.yml does not have the source app: it is out of date")
	}
	sources, err := filepath.Glob("../rules/sources/*.yml")
	if err != nil || len(sources) < 2 {
		t.Fatalf("found the sources %q: %v", sources, err)
	}
	for _, path := range sources {
		name := filepath.Base(path)
		want := slices.Concat(app[:at], rulesIn(t, "sources/"+name), app[at+len(source):])
		got := shipped(t, "rules.preset="+strings.TrimSuffix(name, ".yml"))
		if diff := cmp.Diff([]monitoringv1.RuleGroup{{Name: "canary", Rules: want}, own}, got); diff != "" {
			t.Errorf("the chart's rules differ from rules/ with %s (-rules +chart):\n%s", name, diff)
		}
	}
}

func TestReceiverRulesTakeThresholdsFromValues(t *testing.T) {
	changed := map[string]string{}
	want, got := shipped(t, "")[0].Rules, shipped(t, "rules.thresholds.z=4.75,rules.thresholds.requests=100")[0].Rules
	for i := range got {
		if !cmp.Equal(want[i], got[i]) {
			changed[got[i].Labels["kind"]] = got[i].Expr.StrVal
		}
	}
	if diff := cmp.Diff(map[string]string{"z": "vector(4.75)", "requests": "vector(100)"}, changed); diff != "" {
		t.Errorf("the chart must change only the two thresholds (-want +got):\n%s", diff)
	}
}

// The chart applies rules/sensitivities.yml; thresholds of the values go before those of the sensitivity.
func TestReceiverRulesTakeTheirSensitivityFromValues(t *testing.T) {
	text, err := os.ReadFile("../rules/sensitivities.yml")
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]struct {
		Thresholds map[string]float64
		Observe    []string
	}
	if err := yaml.UnmarshalStrict(text, &all); err != nil {
		t.Fatal(err)
	}
	for name, sensitivity := range all {
		sensitivity.Thresholds["requests"] = 100
		var observed []string
		for _, r := range shipped(t, "rules.thresholds.requests=100,rules.sensitivity="+name)[0].Rules {
			kind := r.Labels["kind"]
			if want, ok := sensitivity.Thresholds[kind]; ok && r.Expr.StrVal != fmt.Sprintf("vector(%v)", want) {
				t.Errorf("%s: %s is %s, want %v", name, kind, r.Expr.StrVal, want)
			}
			if r.Labels["backout"] == "observe" && r.Labels["severity"] == "warning" {
				observed = append(observed, r.Alert)
			}
		}
		slices.Sort(observed)
		if want := slices.Sorted(slices.Values(sensitivity.Observe)); !slices.Equal(observed, want) {
			t.Errorf("%s: the alerts that only report are %q, want %q", name, observed, want)
		}
	}
}

func TestReceiverRulesTakeTheirPlaybooksFromValues(t *testing.T) {
	for _, group := range shipped(t, "rules.runbookBaseURL=https://runbooks.example/backout") {
		for _, rule := range group.Rules {
			if want := "https://runbooks.example/backout/" + rule.Alert + ".md"; rule.Alert != "" && rule.Annotations["runbook_url"] != want {
				t.Errorf("%s links to %s, want %s", rule.Alert, rule.Annotations["runbook_url"], want)
			}
		}
	}
}

// helm package follows the links to rules and dashboards, and leaves out the files that a cluster does not need.
func TestReceiverPackage(t *testing.T) {
	packed := action.NewPackage()
	packed.Destination = t.TempDir()
	path, err := packed.Run("backout", nil)
	if err != nil {
		t.Fatal(err)
	}
	fromFile, err := loader.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	fromDir, err := loader.LoadDir("backout")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range fromFile.Files {
		names = append(names, file.Name)
		dir, base := filepath.Split(file.Name)
		if strings.HasPrefix(dir, "files/") && (!slices.Contains([]string{".yml", ".json"}, filepath.Ext(base)) || strings.Contains(base, ".test.")) || strings.HasPrefix(dir, "ci") {
			t.Errorf("the package contains %s", file.Name)
		}
	}
	if !slices.Contains(names, "files/rules/sources/app.yml") {
		t.Errorf("the package lacks the rules: %q", names)
	}
	if diff := cmp.Diff(fromDir.Files, fromFile.Files); diff != "" {
		t.Errorf("the packaged chart differs from its directory (-directory +package):\n%s", diff)
	}
}
