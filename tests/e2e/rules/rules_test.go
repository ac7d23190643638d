// Package rules_test runs the unit tests of the rule files in rules/ with promtool, in the version of the sandbox's Prometheus, and
// measures on the sandbox how long the alerts take to fire.
package rules_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/upcommerce/backout/rules"
	"github.com/upcommerce/backout/tests/env/programs"
)

// A test file names in rule_files what it tests: canary.rules.yml, the finished file; SENSITIVITY.rules.yml and
// PRESET.rules.yml, the same at another sensitivity and for another source, the sources at eager; or backout.rules.yml,
// the alerts about backout itself. All of them are assembled here from the fragments, not read from the committed files.
func TestRulesPassTheirUnitTests(t *testing.T) {
	promtool := buildPromtool(t)
	dir := t.TempDir()
	for _, preset := range rules.Presets() {
		write(t, filepath.Join(dir, preset+".rules.yml"), assemble(t, rules.Options{Preset: preset, Sensitivity: "eager"}))
	}
	for _, sensitivity := range rules.Sensitivities() {
		write(t, filepath.Join(dir, sensitivity+".rules.yml"), assemble(t, rules.Options{Sensitivity: sensitivity}))
	}
	write(t, filepath.Join(dir, "canary.rules.yml"), assemble(t, rules.Options{}))
	own, err := rules.Own()
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "backout.rules.yml"), own)
	files, err := filepath.Glob(filepath.Join("..", "..", "..", "rules", "*.test.yml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("found no unit tests: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, filepath.Base(file)), b)
			cmd := exec.CommandContext(t.Context(), promtool, "test", "rules", filepath.Base(file))
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func buildPromtool(t *testing.T) string {
	t.Helper()
	path, err := programs.Build(t.Context(), programs.Promtool(), func(stage string) { t.Log(stage) })
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func assemble(t *testing.T, o rules.Options) []byte {
	t.Helper()
	b, err := rules.Assemble(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}
