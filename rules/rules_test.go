// Package rules_test checks the conventions that every rule here follows. The *.test.yml files in this directory test the behaviour of
// the rules; promtool runs them.
package rules_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/rules"
)

// ruleFile is the part of a rule file that the tests read.
type ruleFile struct {
	Groups []struct {
		Name  string
		Rules []rule
	}
}

type rule struct {
	Record, Alert, Expr, For string
	KeepFiringFor            string `json:"keep_firing_for"`
	Labels, Annotations      map[string]string
}

// parse reads the rules of a file's only group.
func parse(t *testing.T, b []byte) []rule {
	t.Helper()
	var f ruleFile
	if err := yaml.UnmarshalStrict(b, &f); err != nil {
		t.Fatal(err)
	}
	if len(f.Groups) != 1 || f.Groups[0].Name != "canary" {
		t.Fatalf("a rule file has one group, named canary, so that its rules see what those before them record: %d groups", len(f.Groups))
	}
	return f.Groups[0].Rules
}

func TestEveryFragmentIsARuleFileByItself(t *testing.T) {
	fragments, err := filepath.Glob("sources/*.yml")
	if err != nil || len(fragments) != len(rules.Presets()) {
		t.Fatalf("found %d sources and %d presets: %v", len(fragments), len(rules.Presets()), err)
	}
	for _, name := range []string{"thresholds", "objects", "tracks", "errors", "latency", "health", "traffic"} {
		fragments = append(fragments, name+".yml")
	}
	for _, path := range fragments {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if len(parse(t, b)) == 0 {
			t.Errorf("%s has no rules", path)
		}
	}
}

// Every source records the same series, so that neither alerts nor dashboards depend on it. Envoy Gateway has no durations by endpoint.
func TestEverySourceRecordsTheSame(t *testing.T) {
	recorded := func(preset string) []string {
		var names []string
		for _, r := range parse(t, assemble(t, rules.Options{Preset: preset})) {
			if r.Record != "" && !slices.Contains(names, r.Record) {
				names = append(names, r.Record)
			}
		}
		slices.Sort(names)
		return names
	}
	want := recorded(rules.DefaultPreset)
	for _, preset := range rules.Presets() {
		got := recorded(preset)
		for _, name := range want {
			durations := strings.Contains(name, ":http_duration_bucket:seen1m") || strings.Contains(name, ":http_duration_sum:seen1m")
			if !slices.Contains(got, name) && (preset != "envoy-gateway" || !durations) {
				t.Errorf("%s does not record %s", preset, name)
			}
		}
	}
}

func TestEveryAlertKeepsTheContract(t *testing.T) {
	for _, r := range parse(t, assemble(t, rules.Options{})) {
		if r.Alert != "" {
			t.Run(r.Alert, func(t *testing.T) { checkAlert(t, r) })
		}
	}
}

func checkAlert(t *testing.T, r rule) {
	t.Helper()
	if may, ok := r.Labels["backout"]; ok != (r.Alert != "BothTracksFail") || ok && !slices.Contains([]string{"rollback", "shed", "observe"}, may) {
		t.Errorf("every alert but BothTracksFail has the label backout: rollback, shed or observe; not %q", may)
	}
	if r.Labels["severity"] == "" {
		t.Error("the alert needs a severity, so that Alertmanager can route it")
	}
	for _, label := range []string{"namespace", "release", "version"} {
		if !strings.Contains(r.Annotations["summary"], "$labels."+label) {
			t.Errorf("the summary must name the %s", label)
		}
	}
	if !strings.Contains(r.Annotations["summary"], "with $labels.version") {
		t.Error("the summary must read well without a version: not every source has one")
	}
	if !strings.Contains(r.Annotations["summary"]+r.Annotations["description"], "$value") {
		t.Error("neither summary nor description has the value")
	}
	if r.KeepFiringFor == "" {
		t.Error("without keep_firing_for the alert may end during the rollback")
	}
	checkWindow(t, r)
	checkPlaybook(t, r)
}

// checkWindow checks the annotation by which backout knows how far back the alert looks at the canary: as far as the series of its
// expression that end in 5m, if there is one.
func checkWindow(t *testing.T, r rule) {
	t.Helper()
	want := "1m"
	switch {
	case r.Labels["backout"] == "":
		want = ""
	case strings.Contains(r.Expr, "5m"):
		want = "5m"
	}
	if got := r.Annotations["window"]; got != want {
		t.Errorf("the annotation window is %q, want %q", got, want)
	}
}

// checkPlaybook checks that the alert links to its own playbook, and that the playbook has every section.
func checkPlaybook(t *testing.T, r rule) {
	t.Helper()
	playbook := filepath.Join("playbooks", r.Alert+".md")
	if !strings.HasSuffix(r.Annotations["runbook_url"], "/rules/"+filepath.ToSlash(playbook)) {
		t.Errorf("runbook_url %q does not link to %s", r.Annotations["runbook_url"], playbook)
	}
	b, err := os.ReadFile(playbook)
	if err != nil {
		t.Fatalf("the alert has no playbook: %v", err)
	}
	if !strings.HasPrefix(string(b), "# "+r.Alert+"\n") {
		t.Errorf("%s: its title must be the alert's name", playbook)
	}
	for _, section := range []string{"Meaning", "Automatic response", "Steps", "How to stop it", "When it stays silent"} {
		if !strings.Contains(string(b), "\n## "+section+"\n") {
			t.Errorf("%s has no section %s", playbook, section)
		}
	}
}

func TestEveryPlaybookHasAnAlertAndEveryAlertAUnitTest(t *testing.T) {
	var all strings.Builder
	tests, err := filepath.Glob("*.test.yml")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range tests {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all.Write(b)
	}
	alerts := map[string]bool{}
	for _, r := range slices.Concat(parse(t, assemble(t, rules.Options{})), own(t)) {
		if r.Alert == "" {
			continue
		}
		alerts[r.Alert] = true
		if !strings.Contains(all.String(), "alertname: "+r.Alert+"\n") || !strings.Contains(all.String(), `alertname="`+r.Alert+`"`) {
			t.Errorf("%s needs a unit test in which it fires and one in which it does not", r.Alert)
		}
	}
	playbooks, err := filepath.Glob("playbooks/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range playbooks {
		if !alerts[strings.TrimSuffix(filepath.Base(p), ".md")] {
			t.Errorf("%s documents an alert that does not exist", p)
		}
	}
}

// Every threshold is used, and the README has it with its default.
func TestEveryThresholdIsUsedAndExplained(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	all := parse(t, assemble(t, rules.Options{}))
	rows := regexp.MustCompile("(?m)^\\| (`[^|]+`) \\| ([0-9.]+) \\|").FindAllStringSubmatch(string(readme), -1)
	explained := map[string]string{}
	for _, row := range rows {
		for kind := range strings.SplitSeq(row[1], ", ") {
			explained[strings.Trim(kind, "`")] = "vector(" + row[2] + ")"
		}
	}
	for _, r := range all {
		if r.Record != "canary_threshold" {
			continue
		}
		kind := r.Labels["kind"]
		if explained[kind] != r.Expr {
			t.Errorf("README.md has %q for the threshold %s, which is %s", explained[kind], kind, r.Expr)
		}
		delete(explained, kind)
		if !slices.ContainsFunc(all, func(o rule) bool { return strings.Contains(o.Expr, `canary_threshold{kind="`+kind+`"}`) }) {
			t.Errorf("no rule uses the threshold %s", kind)
		}
	}
	for kind := range explained {
		t.Errorf("README.md explains a threshold that does not exist: %s", kind)
	}
}

// A playbook that names a threshold has its default in the same line.
func TestPlaybooksHaveTheThresholdsDefaults(t *testing.T) {
	playbooks, err := filepath.Glob("playbooks/*.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, path := range playbooks {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, strings.Split(string(b), "\n")...)
	}
	for _, r := range parse(t, assemble(t, rules.Options{})) {
		if r.Record != "canary_threshold" {
			continue
		}
		value, err := strconv.ParseFloat(strings.Trim(r.Expr, "vector()"), 64)
		if err != nil {
			t.Fatal(err)
		}
		forms := []string{fmt.Sprint(value), fmt.Sprintf("%g%%", 100*value)}
		switch value {
		case 2:
			forms = append(forms, "twice")
		case 0.5:
			forms = append(forms, "half")
		}
		meant := regexp.MustCompile("\\| `" + r.Labels["kind"] + "`[ ,]|\\(`" + r.Labels["kind"] + "`\\)")
		for _, line := range all {
			if meant.MatchString(line) && !slices.ContainsFunc(forms, func(f string) bool { return strings.Contains(line, f) }) {
				t.Errorf("a playbook names %s without its default, %v: %s", r.Labels["kind"], value, line)
			}
		}
	}
}
