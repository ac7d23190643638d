package main

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/prometheus/prometheus/model/rulefmt"
	"go.yaml.in/yaml/v3"
)

// Set is a sensitivity: thresholds in place of those of the rule file, and the alerts that ask for nothing.
type Set struct {
	Thresholds map[string]float64 `yaml:"thresholds"`
	Observe    []string           `yaml:"observe"`
}

// LoadSets reads the sensitivities that ship.
func LoadSets(path string) (map[string]Set, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the sensitivities: %w", err)
	}
	sets := map[string]Set{}
	if err := yaml.Unmarshal(b, &sets); err != nil {
		return nil, fmt.Errorf("read the sensitivities in %s: %w", path, err)
	}
	return sets, nil
}

var thresholdUse = regexp.MustCompile(`scalar\(canary_threshold\{kind="([a-z_]+)"\}\)`)

// at returns the rules with the thresholds of a sensitivity, and with the alerts' names made its own, as in careful/CanaryLatency. The
// recording rules are the same at every sensitivity but for slow_times and latency_times, which only alerts use.
func (s Set) at(name string, rules Rules) Rules {
	var alerts Rules
	for _, r := range rules {
		if r.Alert == "" {
			continue
		}
		r.Expr = thresholdUse.ReplaceAllStringFunc(r.Expr, func(use string) string {
			if v, ok := s.Thresholds[thresholdUse.FindStringSubmatch(use)[1]]; ok {
				return strconv.FormatFloat(v, 'g', -1, 64)
			}
			return use
		})
		r.Expr = strings.NewReplacer(`alertname="`, `alertname="`+name+"/", `alertname=~"`, `alertname=~"`+name+"/", "|Canary", "|"+name+"/Canary").Replace(r.Expr)
		r.Labels = maps.Clone(r.Labels)
		if slices.Contains(s.Observe, r.Alert) {
			r.Labels["backout"] = "observe"
		} else if r.Labels["backout"] == "observe" {
			r.Labels["backout"] = "rollback"
		}
		r.Alert = name + "/" + r.Alert
		alerts = append(alerts, r)
	}
	return alerts
}

// withSets returns the recording rules, and the alerts once for each sensitivity.
func withSets(rules Rules, sets map[string]Set) Rules {
	all := slices.DeleteFunc(slices.Clone(rules), func(r rulefmt.Rule) bool { return r.Alert != "" })
	for _, name := range slices.Sorted(maps.Keys(sets)) {
		all = append(all, sets[name].at(name, rules)...)
	}
	return all
}
