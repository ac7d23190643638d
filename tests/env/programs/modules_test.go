package programs

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var requirement = regexp.MustCompile(`(?m)^\t([^\s/]+/\S+) (v\S+)`)

// requirements returns the modules that a go.mod requires, with their versions.
func requirements(t *testing.T, module string) map[string]string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", module, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, m := range requirement.FindAllStringSubmatch(string(text), -1) {
		found[m[1]] = m[2]
	}
	return found
}

// Packages in two versions are compiled twice, and so is everything that imports them.
func TestModulesShareTheirDependencies(t *testing.T) {
	shared := []string{
		"k8s.io/", "golang.org/x/", "github.com/go-openapi/swag", "github.com/prometheus/client_golang", "github.com/prometheus/common",
		"github.com/go-logr/logr", "sigs.k8s.io/structured-merge-diff",
	}
	servers := append(slices.Clone(shared), "go.opentelemetry.io/otel", "google.golang.org/") // backout has no package of these
	first := requirements(t, "tests")
	for module, prefixes := range map[string][]string{
		".": shared, "tests/env/prometheus": servers, "tests/env/alertmanager": servers, "tests/env/kube-state-metrics": servers,
		"tests/tools/power": servers,
	} {
		for path, version := range requirements(t, module) {
			want, both := first[path]
			if both && version != want && slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(path, prefix) }) {
				t.Errorf("%s requires %s %s, tests %s: go get the higher one in all modules", module, path, version, want)
			}
		}
	}
}
