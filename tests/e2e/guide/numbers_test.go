package guide

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The page names every answer of answers.yml, and contains the query or command that answers.yml has for it.
func TestEveryNumberCanBeFound(t *testing.T) {
	answers, err := os.ReadFile(filepath.Join(repository(t), "answers.yml"))
	if errors.Is(err, fs.ErrNotExist) {
		t.Fatal("answers.yml is missing; `make upcommerce` writes it")
	}
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Sections map[string]yaml.Node `yaml:",inline"`
	}
	if err := yaml.Unmarshal(answers, &file); err != nil {
		t.Fatal(err)
	}
	_, text, _ := read(t)
	seen := 0
	for section, node := range file.Sections {
		if node.Kind != yaml.MappingNode {
			continue // the seconds of each fault, which are no question of the exercise
		}
		for i := 0; i < len(node.Content); i += 2 {
			key := node.Content[i]
			if !named(text, section, key.Value) {
				t.Errorf("docs/upcommerce.md does not name %s.%s", section, key.Value)
			}
			how := uncommented(key.HeadComment)
			queried := strings.HasPrefix(how, "kubectl get") || strings.Contains(how, "{namespace=")
			if queried && !strings.Contains(spaced(text), how) {
				t.Errorf("docs/upcommerce.md does not contain the query or command of answers.yml for %s.%s: %s", section, key.Value, how)
			}
			if queried {
				seen++
			}
		}
	}
	if seen < 10 {
		t.Errorf("only %d answers of answers.yml have a query or a command", seen)
	}
}

// named reports whether a line contains the key after its section.
func named(text, section, key string) bool {
	return slices.ContainsFunc(strings.Split(text, "\n"), func(line string) bool {
		_, rest, ok := strings.Cut(line, section+".")
		return ok && strings.Contains(rest, key)
	})
}

func spaced(text string) string { return strings.Join(strings.Fields(text), " ") }

// uncommented returns a comment as one line, without its number signs.
func uncommented(comment string) string {
	var lines []string
	for line := range strings.Lines(comment) {
		lines = append(lines, strings.TrimPrefix(strings.TrimSpace(line), "#"))
	}
	return spaced(strings.Join(lines, " "))
}
