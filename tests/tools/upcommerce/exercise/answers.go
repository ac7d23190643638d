package exercise

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

// Answers are the answers to the exercise from one run.
type Answers struct {
	// At is when the run ended.
	At time.Time
	// On says what the run used: names and versions, one per line.
	On []string

	// Traffic is how long shoppers had visited v1 and v2 when their requests were counted.
	Traffic time.Duration

	found map[string]found
	// Faults are the measured seconds of each kind of fault; empty if they were not measured.
	Faults []Seconds
}

// found is a value, with its query or command.
type found struct {
	value any
	how   string
}

// put stores the value for a key of the exercise.
func (a *Answers) put(key string, value any, how string) {
	if a.found == nil {
		a.found = make(map[string]found)
	}
	a.found[key] = found{value, how}
}

// Encode returns the answers as YAML, each with its query or command in the comment above
// it, and its unit in the comment after it. It returns an error if a key has no answer.
func (a *Answers) Encode() ([]byte, error) {
	root := &yaml.Node{Kind: yaml.MappingNode}
	root.HeadComment = "The answers to the UpCommerce exercise, written by `make upcommerce` from the running system at " +
		a.At.UTC().Format(time.RFC3339) + ".\n" + strings.Join(a.On, "\n") +
		"\nThe comment above a value is its query or command, the comment after it its unit."
	var errs []error
	for _, k := range keys() {
		f, ok := a.found[k.name]
		if !ok {
			errs = append(errs, fmt.Errorf("%s has no answer", k.name))
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
		root.Content = append(root.Content, a.faultsSection()...)
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

// sectionOf returns the mapping of that name, and creates it if necessary.
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

// faultsSection returns an additional section, which is no question of the exercise: the
// seconds and bad requests of each kind of fault.
func (a *Answers) faultsSection() []*yaml.Node {
	list := &yaml.Node{}
	// A list of structs with tags cannot fail to encode.
	_ = list.Encode(a.Faults)
	return []*yaml.Node{{
		Kind: yaml.ScalarNode, Value: "rollback_by_alert",
		HeadComment: "Not a question of the exercise: seconds from the first bad request of a shopper, or without one, from the upgrade.\n" + conditions,
	}, list}
}

// ReadFaults returns the seconds of each kind of fault in an answers file.
func ReadFaults(text []byte) ([]Seconds, error) {
	var file struct {
		Faults []Seconds `yaml:"rollback_by_alert"`
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("read the answers: %w", err)
	}
	return file.Faults, nil
}

// Write writes the answers to the file, completely or not at all.
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

// Read returns the values of an answers file by key, "section.name", and all its errors,
// joined: a missing key, an unknown key, a value of another kind, a value without unit or
// source.
func Read(text []byte) (map[string]any, error) {
	var file yaml.Node
	if err := yaml.Unmarshal(text, &file); err != nil {
		return nil, fmt.Errorf("read the answers: %w", err)
	}
	if len(file.Content) != 1 || file.Content[0].Kind != yaml.MappingNode {
		return nil, errors.New("read the answers: not a mapping")
	}
	values := make(map[string]any)
	var errs []error
	root := file.Content[0]
	for i := 0; i+1 < len(root.Content); i += 2 {
		name, section := root.Content[i].Value, root.Content[i+1]
		if section.Kind != yaml.MappingNode {
			continue // the seconds of each fault, which are no answer
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
		return fmt.Errorf("%s is not a key of the exercise", full)
	}
	k := keys()[i]
	decoded, err := k.decode(value)
	if err != nil {
		return fmt.Errorf("%s: %w", full, err)
	}
	values[full] = decoded
	switch {
	case name.HeadComment == "":
		return fmt.Errorf("%s: the comment above it with its query or command is missing", full)
	case k.unit != "" && !strings.Contains(value.LineComment, k.unit):
		return fmt.Errorf("%s: the comment after it does not name the unit, %s", full, k.unit)
	}
	return nil
}
