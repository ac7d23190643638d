// Package rules holds the alert rules that backout ships, and assembles them into
// one Prometheus rule file. A preset selects the source of the metrics, thresholds
// set how certain an alert has to be, and everything else is always the same.
//
// A fragment is a rule file by itself, with one group. Prometheus evaluates the
// rules of a group in order, and each rule sees the series that those before it
// have recorded, so the fragments become one group, in the order of fragments.
package rules

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

//go:embed backout.rules.yml sensitivities.yml thresholds.yml objects.yml young.yml tracks.yml steps.yml errors.yml latency.yml health.yml traffic.yml sources/*.yml
var files embed.FS

// DefaultPreset is the preset of canary.rules.yml.
const DefaultPreset = "app"

const (
	sourceDir     = "sources"
	extension     = ".yml"
	thresholdName = "canary_threshold"
	thresholdKind = "kind"
)

// fragments returns the files of a preset, in the order of the group.
func fragments(preset string) []string {
	return []string{
		"thresholds.yml",
		"objects.yml",
		"young.yml",
		sourceDir + "/" + preset + extension,
		"tracks.yml",
		"steps.yml",
		"errors.yml",
		"latency.yml",
		"health.yml",
		"traffic.yml",
	}
}

// Presets returns the names of the sources in sources/, sorted.
func Presets() []string {
	entries, err := fs.ReadDir(files, sourceDir)
	if err != nil {
		return nil // not possible: the directory is embedded
	}
	names := make([]string, 0, len(entries))
	for _, e := range entries {
		names = append(names, strings.TrimSuffix(e.Name(), extension))
	}
	slices.Sort(names) // app before app-native
	return names
}

// Options select the content of the rule file; the zero value means
// canary.rules.yml.
type Options struct {
	// Preset is the source of the metrics, one of Presets; "" means DefaultPreset.
	Preset string
	// Sensitivity says how much worse a canary has to be, one of Sensitivities; ""
	// means DefaultSensitivity.
	Sensitivity string
	// Thresholds replace values of thresholds.yml, by kind.
	Thresholds map[string]float64
	// Engine evaluates the rules, one of Engines; "" means DefaultEngine.
	Engine string
}

// Assemble returns a plain rule file: for Prometheus with one group, for vmalert with
// one for each stage. It returns an error if a preset, sensitivity, threshold or engine
// does not exist, and the error names those that do; and if the engine cannot evaluate
// the preset.
func Assemble(o Options) ([]byte, error) {
	if o.Preset == "" {
		o.Preset = DefaultPreset
	}
	if !slices.Contains(Presets(), o.Preset) {
		return nil, fmt.Errorf("there is no preset %q: use one of %s", o.Preset, strings.Join(Presets(), ", "))
	}
	var all group
	for _, name := range fragments(o.Preset) {
		g, err := read(name)
		if err != nil {
			return nil, err
		}
		all.Name = g.Name
		all.Rules = append(all.Rules, g.Rules...)
	}
	if err := all.apply(o.Sensitivity); err != nil {
		return nil, err
	}
	if err := all.set(o.Thresholds); err != nil {
		return nil, err
	}
	groups, err := all.groups(o)
	if err != nil {
		return nil, err
	}
	return encode(o, groups)
}

// Own returns the rule file about backout itself, the same for all presets.
func Own() ([]byte, error) {
	b, err := files.ReadFile("backout.rules.yml")
	if err != nil {
		return nil, fmt.Errorf("read the rules about backout itself: %w", err)
	}
	return b, nil
}

// ruleFile is a Prometheus rule file; group is one of its groups. Rules keep their
// comments.
type ruleFile struct {
	Groups []group `yaml:"groups"`
}

type group struct {
	Name string `yaml:"name"`
	// Interval, Offset and Params are for vmalert alone: Offset is the time after a
	// multiple of Interval at which it evaluates the group, Params are what it adds to
	// its queries.
	Interval string              `yaml:"interval,omitempty"`
	Offset   string              `yaml:"eval_offset,omitempty"`
	Params   map[string][]string `yaml:"params,omitempty"`
	Rules    []yaml.Node         `yaml:"rules"`
}

func read(name string) (group, error) {
	b, err := files.ReadFile(name)
	if err != nil {
		return group{}, fmt.Errorf("read the rules in %s: %w", name, err)
	}
	var f ruleFile
	if err := yaml.Unmarshal(b, &f); err != nil {
		return group{}, fmt.Errorf("read the rules in %s: %w", name, err)
	}
	if len(f.Groups) != 1 {
		return group{}, fmt.Errorf("read the rules in %s: it has %d groups, not one", name, len(f.Groups))
	}
	return f.Groups[0], nil
}

// set replaces the values of thresholds.
func (g group) set(thresholds map[string]float64) error {
	exprs := map[string]*yaml.Node{}
	var kinds []string
	for i := range g.Rules {
		if kind, expr := threshold(&g.Rules[i]); expr != nil {
			exprs[kind] = expr
			kinds = append(kinds, kind)
		}
	}
	for kind, value := range thresholds {
		expr, ok := exprs[kind]
		if !ok {
			return fmt.Errorf("there is no threshold %q: use one of %s", kind, strings.Join(kinds, ", "))
		}
		if math.IsNaN(value) || math.IsInf(value, 0) {
			return fmt.Errorf("%s: %g is no threshold: the alert would always or never fire", kind, value)
		}
		expr.SetString("vector(" + strconv.FormatFloat(value, 'g', -1, 64) + ")")
	}
	return nil
}

// threshold returns the kind and the expression of a rule that records a threshold,
// and a nil expression for any other rule.
func threshold(rule *yaml.Node) (kind string, expr *yaml.Node) {
	if name := field(rule, "record"); name == nil || name.Value != thresholdName {
		return "", nil
	}
	labels := field(rule, "labels")
	if labels == nil || field(labels, thresholdKind) == nil {
		return "", nil
	}
	return field(labels, thresholdKind).Value, field(rule, "expr")
}

// field returns the value of a mapping's key, or nil.
func field(mapping *yaml.Node, key string) *yaml.Node {
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value == key {
			return mapping.Content[i+1]
		}
	}
	return nil
}

func encode(o Options, groups []group) ([]byte, error) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# Is the canary worse than its stable track? Generated by: backout rules --preset %s", o.Preset)
	if o.Sensitivity != "" && o.Sensitivity != DefaultSensitivity {
		fmt.Fprintf(&b, " --sensitivity %s", o.Sensitivity)
	}
	if o.Engine != "" && o.Engine != DefaultEngine {
		fmt.Fprintf(&b, " --engine %s", o.Engine)
	}
	b.WriteString("\n")
	b.WriteString("# Do not edit: change the fragments in rules/, or set thresholds. rules/README.md explains both.\n")
	e := yaml.NewEncoder(&b)
	e.SetIndent(2)
	if err := e.Encode(ruleFile{Groups: groups}); err != nil {
		return nil, fmt.Errorf("encode the rules: %w", err)
	}
	if err := e.Close(); err != nil {
		return nil, fmt.Errorf("encode the rules: %w", err)
	}
	return b.Bytes(), nil
}
