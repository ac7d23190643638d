package programs

import (
	"io/fs"
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
	found := map[string]string{}
	for _, m := range requirement.FindAllStringSubmatch(read(t, filepath.Join("..", "..", "..", module, "go.mod")), -1) {
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

// A module without the line is built with whatever Go is installed, and with the vulnerabilities of its standard library.
func TestEveryModuleNamesTheToolchain(t *testing.T) {
	root := filepath.Join("..", "..", "..")
	want, modules := toolchain.FindString(read(t, filepath.Join(root, "go.mod"))), 0
	if want == "" {
		t.Fatal("go.mod has no line toolchain")
	}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "bin" || (entry.Name()[0] == '.' && path != root)):
			return filepath.SkipDir
		case entry.Name() == "go.mod":
			modules++
			if got := toolchain.FindString(read(t, path)); got != want {
				t.Errorf("%s has the line %q, want %q as in the go.mod of backout", path, got, want)
			}
		}
		return nil
	})
	if err != nil || modules < 2 {
		t.Errorf("%d files go.mod were found: %v", modules, err)
	}
}

var toolchain = regexp.MustCompile(`(?m)^toolchain .+$`)

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
