// Package rules_test checks what has to hold for every rule file here, whatever it alerts on. How the rules behave is told by the
// *.test.yml files beside them, which promtool runs.
package rules_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

// ruleFile is what the tests look at in a rule file.
type ruleFile struct {
	Groups []struct {
		Name  string
		Rules []rule
	}
}

type rule struct {
	Record, Alert, Expr string
	KeepFiringFor       string `json:"keep_firing_for"`
	Labels, Annotations map[string]string
}

// files reads every rule file, by its name.
func files(t *testing.T) map[string]ruleFile {
	t.Helper()
	paths, err := filepath.Glob("*.rules.yml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("found no rule files: %v", err)
	}
	found := map[string]ruleFile{}
	for _, path := range paths {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var f ruleFile
		if err := yaml.Unmarshal(b, &f); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		found[path] = f
	}
	return found
}

func TestEveryAlertKeepsTheContract(t *testing.T) {
	for path, f := range files(t) {
		for _, g := range f.Groups {
			for _, r := range g.Rules {
				if r.Alert == "" {
					continue
				}
				t.Run(r.Alert, func(t *testing.T) { checkAlert(t, path, r) })
			}
		}
	}
}

func checkAlert(t *testing.T, path string, r rule) {
	t.Helper()
	if may, ok := r.Labels["backout"]; ok && !slices.Contains([]string{"rollback", "shed", "observe"}, may) {
		t.Errorf("%s: backout may be told to rollback, shed or observe, not to %q", path, may)
	}
	if r.Labels["severity"] == "" {
		t.Errorf("%s: without a severity nobody knows whom to wake", path)
	}
	for _, label := range []string{"namespace", "release", "version"} {
		if !strings.Contains(r.Annotations["summary"], "$labels."+label) {
			t.Errorf("%s: the summary must name the %s", path, label)
		}
	}
	if !strings.Contains(r.Annotations["summary"]+r.Annotations["description"], "$value") {
		t.Errorf("%s: neither summary nor description tells the value", path)
	}
	if r.Labels["backout"] == "rollback" && r.KeepFiringFor == "" {
		t.Errorf("%s: without keep_firing_for its end races the rollback", path)
	}
	playbook := filepath.Join("playbooks", r.Alert+".md")
	if !strings.HasSuffix(r.Annotations["runbook_url"], "/rules/"+filepath.ToSlash(playbook)) {
		t.Errorf("%s: runbook_url %q does not lead to %s", path, r.Annotations["runbook_url"], playbook)
	}
	b, err := os.ReadFile(playbook)
	if err != nil {
		t.Errorf("%s: the alert has no playbook: %v", path, err)
	}
	if !strings.HasPrefix(string(b), "# "+r.Alert+"\n") {
		t.Errorf("%s: its title must be the alert's name", playbook)
	}
}

// One evaluation of a group runs its rules in order: an alert sees only what is recorded before it.
func TestRecordsComeBeforeAlerts(t *testing.T) {
	for path, f := range files(t) {
		for _, g := range f.Groups {
			var alert string
			for _, r := range g.Rules {
				if r.Record != "" && alert != "" {
					t.Errorf("%s, group %s: %s is recorded after the alert %s", path, g.Name, r.Record, alert)
				}
				alert += r.Alert
			}
		}
	}
}

func TestEveryRuleFileHasUnitTestsAndEveryPlaybookAnAlert(t *testing.T) {
	alerts := map[string]bool{}
	for path, f := range files(t) {
		if _, err := os.Stat(strings.TrimSuffix(path, ".rules.yml") + ".test.yml"); err != nil {
			t.Errorf("%s has no unit tests: %v", path, err)
		}
		for _, g := range f.Groups {
			for _, r := range g.Rules {
				alerts[r.Alert] = true
			}
		}
	}
	playbooks, err := filepath.Glob("playbooks/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range playbooks {
		if !alerts[strings.TrimSuffix(filepath.Base(p), ".md")] {
			t.Errorf("%s is about an alert that does not exist", p)
		}
	}
}
