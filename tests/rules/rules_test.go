// Package rules_test runs the unit tests of the rule files in rules/ by promtool, in the version of the Prometheus that the sandbox
// runs.
package rules_test

import (
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/upcommerce/backout/tests/sandbox"
)

func TestRulesDoWhatTheirUnitTestsSay(t *testing.T) {
	promtool, err := sandbox.Build(t.Context(), sandbox.Promtool(), func(stage string) { t.Log(stage) })
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join("..", "..", "rules")
	files, err := filepath.Glob(filepath.Join(dir, "*.test.yml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("found no unit tests: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), promtool, "test", "rules", filepath.Base(file))
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}
