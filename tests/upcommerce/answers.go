package upcommerce

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Answers are the exercise's, as one run found them.
type Answers struct {
	// At is when the run ended.
	At time.Time
	// On says what it ran on: names and versions, one a line.
	On []string

	found map[string]found
	// Faults is what the promise was measured with; empty if it was not.
	Faults []Seconds
}

// found is one value, and the query or command that gives it.
type found struct {
	value any
	how   string
}

// put notes what was found for one of the exercise's keys.
func (a *Answers) put(key string, value any, how string) {
	if a.found == nil {
		a.found = make(map[string]found)
	}
	a.found[key] = found{value, how}
}

// Encode returns the answers as YAML: above each value the query or command that
// gives it, beside it its unit. It returns an error if a key has no answer.
func (a *Answers) Encode() ([]byte, error) {
	root := &yaml.Node{Kind: yaml.MappingNode}
	root.HeadComment = "The answers to the UpCommerce exercise, written by `make upcommerce` from the running system at " +
		a.At.UTC().Format(time.RFC3339) + ".\n" + strings.Join(a.On, "\n") +
		"\nAbove each value stands the query or command that gives it, beside it its unit."
	var errs []error
	for _, k := range keys() {
		f, ok := a.found[k.name]
		if !ok {
			errs = append(errs, fmt.Errorf("there is no answer for %s", k.name))
			continue
		}
		value := &yaml.Node{}
		if err := value.Encode(f.value); err != nil {
			errs = append(errs, fmt.Errorf("encode %s: %w", k.name, err))
			continue
		}
		value.LineComment = k.unit
		name := &yaml.Node{Kind: yaml.ScalarNode, Value: k.last(), HeadComment: f.how}
		section := sectionOf(root, k.section())
		section.Content = append(section.Content, name, value)
	}
	if len(a.Faults) > 0 {
		root.Content = append(root.Content, a.promise()...)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	var text bytes.Buffer
	encoder := yaml.NewEncoder(&text)
	encoder.SetIndent(2)
	if err := encoder.Encode(root); err != nil {
		return nil, fmt.Errorf("encode the answers: %w", err)
	}
	return text.Bytes(), nil
}

// sectionOf returns the mapping of that name, which it makes if need be.
func sectionOf(root *yaml.Node, name string) *yaml.Node {
	for i := 0; i < len(root.Content); i += 2 {
		if root.Content[i].Value == name {
			return root.Content[i+1]
		}
	}
	section := &yaml.Node{Kind: yaml.MappingNode}
	root.Content = append(root.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: name}, section)
	return section
}

// promise is the section that the exercise does not ask for: what it cost, by kind
// of fault.
func (a *Answers) promise() []*yaml.Node {
	list := &yaml.Node{}
	// A list of structs with tags cannot fail to encode.
	_ = list.Encode(a.Faults)
	return []*yaml.Node{{
		Kind: yaml.ScalarNode, Value: "rollback_by_alert",
		HeadComment: "What the exercise does not ask for: seconds from a shopper's first bad request, or from the upgrade where there was none.\n" + promised,
	}, list}
}

// ReadFaults returns what the promise was measured with, as an answers file has it.
func ReadFaults(text []byte) ([]Seconds, error) {
	var file struct {
		Faults []Seconds `yaml:"rollback_by_alert"`
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("read the answers: %w", err)
	}
	return file.Faults, nil
}

// Write writes the answers into the file, whole or not at all.
func (a *Answers) Write(file string) error {
	text, err := a.Encode()
	if err != nil {
		return err
	}
	draft, err := os.CreateTemp(filepath.Dir(file), ".answers-*.yml")
	if err != nil {
		return fmt.Errorf("write the answers: %w", err)
	}
	defer func() { _ = os.Remove(draft.Name()) }()
	_, err = draft.Write(text)
	if err = errors.Join(err, draft.Chmod(0o644), draft.Close()); err == nil {
		err = os.Rename(draft.Name(), file)
	}
	if err != nil {
		return fmt.Errorf("write the answers to %s: %w", file, err)
	}
	return nil
}

// Read returns the values of an answers file by key, "section.name", and every
// reason why it is not one, joined: a key that is missing or is none of the
// exercise's, a value of another kind, a value without unit or source.
func Read(text []byte) (map[string]any, error) {
	var file yaml.Node
	if err := yaml.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("read the answers: %w", err)
	}
	if len(file.Content) != 1 || file.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("read the answers: they are no mapping")
	}
	values := make(map[string]any)
	var errs []error
	root := file.Content[0]
	for i := 0; i+1 < len(root.Content); i += 2 {
		name, section := root.Content[i].Value, root.Content[i+1]
		if section.Kind != yaml.MappingNode {
			continue // the promise, which is no answer
		}
		for j := 0; j+1 < len(section.Content); j += 2 {
			errs = append(errs, readOne(values, name, section.Content[j], section.Content[j+1]))
		}
	}
	for _, k := range keys() {
		if _, ok := values[k.name]; !ok {
			errs = append(errs, fmt.Errorf("%s is missing", k.name))
		}
	}
	return values, errors.Join(errs...)
}

func readOne(values map[string]any, section string, name, value *yaml.Node) error {
	full := section + "." + name.Value
	i := slices.IndexFunc(keys(), func(k key) bool { return k.name == full })
	if i < 0 {
		return fmt.Errorf("%s is no key of the exercise", full)
	}
	k := keys()[i]
	decoded, err := k.decode(value)
	if err != nil {
		return fmt.Errorf("%s: %w", full, err)
	}
	values[full] = decoded
	switch {
	case name.HeadComment == "":
		return fmt.Errorf("%s: nothing says which query or command gives it", full)
	case k.unit != "" && !strings.Contains(value.LineComment, k.unit):
		return fmt.Errorf("%s: the comment beside it does not name the unit, %s", full, k.unit)
	}
	return nil
}
