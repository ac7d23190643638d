package docs_test

import (
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var testFunction = regexp.MustCompile(`^func (Test\w+)\(`)

// TestSafetyNamesWhatExists checks that every file and every test in safety.md and security.md exists,
// so that the pages change with the code. A name may end in *; after a slash it is a file of
// rollback/testdata/decide.
func TestSafetyNamesWhatExists(t *testing.T) {
	tests := make(map[string]bool)
	for _, f := range files(t, func(name string) bool { return strings.HasSuffix(name, "_test.go") }) {
		for _, line := range f.lines {
			if found := testFunction.FindStringSubmatch(line); found != nil {
				tests[found[1]] = true
			}
		}
	}
	for _, f := range files(t, func(name string) bool { return name == "docs/safety.md" || name == "docs/security.md" }) {
		for i, line := range f.lines {
			for _, span := range codeSpan.FindAllStringSubmatch(line, -1) {
				if missing := missing(span[1], tests); missing != "" {
					t.Errorf("%s:%d: %s does not exist", f.name, i+1, missing)
				}
			}
		}
	}
}

// missing returns what a code span names and does not exist; "" if it exists, or names neither a
// test nor a file.
func missing(span string, tests map[string]bool) string {
	if strings.HasPrefix(span, "rollback/") {
		if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(span))); err != nil {
			return span
		}
		return ""
	}
	if !strings.HasPrefix(span, "Test") {
		return ""
	}
	function, scenario, _ := strings.Cut(span, "/")
	if scenario != "" {
		found, err := filepath.Glob(filepath.Join(root, "rollback", "testdata", "decide", scenario+".txtar"))
		if err != nil || len(found) == 0 {
			return span
		}
	}
	for name := range tests {
		if ok, err := path.Match(function, name); ok && err == nil {
			return ""
		}
	}
	return span
}

// TestEveryAttackerHasATest checks that each line of the table in security.md names the tests that
// show what stops the attacker.
func TestEveryAttackerHasATest(t *testing.T) {
	rows := 0
	for _, f := range files(t, func(name string) bool { return name == "docs/security.md" }) {
		for i, line := range f.lines {
			if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| an attacker holds") {
				continue
			}
			rows++
			cells := strings.Split(strings.TrimSuffix(line, " |"), " | ")
			if tests := cells[len(cells)-1]; len(cells) != 4 || !strings.HasPrefix(tests, "`Test") {
				t.Errorf("%s:%d: the last of four cells has no test: %q", f.name, i+1, tests)
			}
		}
	}
	if rows < 10 {
		t.Errorf("the table has %d lines", rows)
	}
}
