package rules

import (
	"fmt"
	"strings"
)

// DefaultEngine is the engine of canary.rules.yml.
const DefaultEngine = "prometheus"

const (
	thanos          = "thanos"
	victoriaMetrics = "victoriametrics"
	// native ends the names of presets that read native histograms.
	native = "-native"
)

// Engines returns the names of the engines that evaluate the rules.
func Engines() []string { return []string{DefaultEngine, thanos, victoriaMetrics} }

// groups returns the rules as the groups that an engine needs. Thanos evaluates a
// group as Prometheus does.
func (g group) groups(o Options) ([]group, error) {
	switch o.Engine {
	case "", DefaultEngine, thanos:
		return []group{g}, nil
	case victoriaMetrics:
		if plain, ok := strings.CutSuffix(o.Preset, native); ok {
			return nil, fmt.Errorf("preset %s needs functions for native histograms, which VictoriaMetrics does not have: "+
				"let the application export classic buckets and use --preset %s, or evaluate the rules with Prometheus", o.Preset, plain)
		}
		return g.stages()
	}
	return nil, fmt.Errorf("there is no engine %q: use one of %s", o.Engine, strings.Join(Engines(), ", "))
}
