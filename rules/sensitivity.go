package rules

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// DefaultSensitivity is the sensitivity of canary.rules.yml.
const DefaultSensitivity = "careful"

// sensitivity is an entry of sensitivities.yml.
type sensitivity struct {
	// Thresholds replace values of thresholds.yml, by kind.
	Thresholds map[string]float64 `yaml:"thresholds"`
	// Observe names the alerts that ask for nothing.
	Observe []string `yaml:"observe"`
}

// Sensitivities returns the names of the sensitivities, from the one that needs
// the largest difference to the one that needs the smallest.
func Sensitivities() []string { return []string{DefaultSensitivity, "balanced", "eager"} }

// apply sets the thresholds and the alerts' levels of a sensitivity.
func (g group) apply(name string) error {
	if name == "" {
		name = DefaultSensitivity
	}
	if !slices.Contains(Sensitivities(), name) {
		return fmt.Errorf("there is no sensitivity %q: use one of %s", name, strings.Join(Sensitivities(), ", "))
	}
	b, err := files.ReadFile("sensitivities.yml")
	if err != nil {
		return fmt.Errorf("read the sensitivities: %w", err)
	}
	all := map[string]sensitivity{}
	if err := yaml.Unmarshal(b, &all); err != nil {
		return fmt.Errorf("read the sensitivities: %w", err)
	}
	for i := range g.Rules {
		observe(&g.Rules[i], all[name].Observe)
	}
	return g.set(all[name].Thresholds)
}

// observe makes the rule ask for nothing if it is one of the alerts.
func observe(rule *yaml.Node, alerts []string) {
	alert := field(rule, "alert")
	if alert == nil || !slices.Contains(alerts, alert.Value) {
		return
	}
	labels := field(rule, "labels")
	field(labels, "backout").SetString("observe")
	field(labels, "severity").SetString("warning")
}
