package page

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

// Every answer of answers.yml is named on the page, and the query or command that gives it there is the page's too.
func TestEveryNumberCanBeFound(t *testing.T) {
	answers, err := os.ReadFile(filepath.Join(repository(t), "answers.yml"))
	if errors.Is(err, fs.ErrNotExist) {
		t.Fatal("there is no answers.yml; `make upcommerce` writes it")
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
			continue // the seconds of each fault, which the exercise does not ask for
		}
		for i := 0; i < len(node.Content); i += 2 {
			key := node.Content[i]
			if !named(text, section, key.Value) {
				t.Errorf("docs/upcommerce.md does not say where to see %s.%s", section, key.Value)
			}
			how := uncommented(key.HeadComment)
			asked := strings.HasPrefix(how, "kubectl get") || strings.Contains(how, "{namespace=")
			if asked && !strings.Contains(spaced(text), how) {
				t.Errorf("answers.yml has %s.%s from another query or command than docs/upcommerce.md: %s", section, key.Value, how)
			}
			if asked {
				seen++
			}
		}
	}
	if seen < 10 {
		t.Errorf("only %d answers of answers.yml have a query or a command", seen)
	}
}

// named reports whether a line has the key, after its section.
func named(text, section, key string) bool {
	return slices.ContainsFunc(strings.Split(text, "\n"), func(line string) bool {
		_, rest, ok := strings.Cut(line, section+".")
		return ok && strings.Contains(rest, key)
	})
}

func spaced(text string) string { return strings.Join(strings.Fields(text), " ") }

// uncommented is a comment as one line, without its signs.
func uncommented(comment string) string {
	var lines []string
	for line := range strings.Lines(comment) {
		lines = append(lines, strings.TrimPrefix(strings.TrimSpace(line), "#"))
	}
	return spaced(strings.Join(lines, " "))
}
