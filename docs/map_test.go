package docs_test

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// mapEntry is a line of the map that names directories or Go files, as `helm/, ledger/`,
// with the words that follow it.
var mapEntry = regexp.MustCompile(`^( {4,})([a-z][\w-]*(?:/|\.go)(?:, [a-z][\w-]*/)*)(?: |$)`)

// mapped returns the paths that the map in CONTRIBUTING.md names, and the line of each. A
// line that is indented further is below the line before it.
func mapped(lines []string) map[string]int {
	const indent, step = 4, 2
	paths, above := make(map[string]int), []string{"."}
	inside := false
	for i, line := range lines {
		if strings.HasPrefix(line, "## ") {
			inside = line == "## The map"
		}
		found := mapEntry.FindStringSubmatch(line)
		depth := 0
		if found != nil {
			depth = (len(found[1]) - indent) / step
		}
		if !inside || found == nil || depth >= len(above) {
			continue // a line that goes on with the words of the one before
		}
		for name := range strings.SplitSeq(found[2], ", ") {
			full := path.Join(above[depth], name)
			paths[full] = i + 1
			above = append(above[:depth+1], full)
		}
	}
	return paths
}

// TestTheMapIsRight compares the map in CONTRIBUTING.md with the tree: what it names
// exists, and it names every package of the product and every group of tests.
func TestTheMapIsRight(t *testing.T) {
	paths := mapped(files(t, func(name string) bool { return name == "CONTRIBUTING.md" })[0].lines)
	for name, line := range paths {
		if _, err := os.Stat(filepath.Join(root, name)); err != nil {
			t.Errorf("CONTRIBUTING.md:%d: the map names %s: %v", line, name, err)
		}
	}
	for _, pattern := range []string{"*", "internal/*", "rollback/*", "tests/*", "tests/e2e/*", "tests/env/*", "tests/tools/*"} {
		sources, err := filepath.Glob(filepath.Join(root, pattern, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, source := range sources {
			name, err := filepath.Rel(root, filepath.Dir(source))
			if err != nil {
				t.Fatal(err)
			}
			if name = filepath.ToSlash(name); paths[name] == 0 {
				t.Errorf("the map in CONTRIBUTING.md does not name %s", name)
				paths[name] = -1
			}
		}
	}
}
