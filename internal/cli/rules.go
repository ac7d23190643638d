package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/upcommerce/backout/rules"
)

// ownFlag selects the rules about backout itself.
const ownFlag = "own"

// rulesCommand returns the command that prints the alert rules. It needs no cluster and
// no configuration.
func rulesCommand() *cobra.Command {
	var o rules.Options
	var set map[string]string
	c := &cobra.Command{
		Use:   "rules",
		Short: "Print the alert rules for Prometheus",
		Long: `Print the alert rules for Prometheus: those about canaries, for a source of metrics and with a
sensitivity and thresholds of your choice, or those about backout itself. rules/README.md
explains them.`,
		Example: `  backout rules > canary.rules.yml
  backout rules --preset istio --set z=4.5,requests=100
  backout rules --sensitivity balanced
  backout rules --engine victoriametrics
  backout rules --own > backout.rules.yml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := ruleFile(cmd, o, set)
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(b)
			return err
		},
	}
	c.Flags().StringVar(&o.Preset, "preset", rules.DefaultPreset, "source of the metrics: "+strings.Join(rules.Presets(), ", "))
	c.Flags().StringVar(&o.Sensitivity, "sensitivity", rules.DefaultSensitivity,
		"how much worse a canary has to be: "+strings.Join(rules.Sensitivities(), ", ")+"; docs/rules.md compares them")
	c.Flags().StringVar(&o.Engine, "engine", rules.DefaultEngine, "server that evaluates the rules: "+strings.Join(rules.Engines(), ", ")+"; the last is vmalert")
	c.Flags().Bool(ownFlag, false, "the rules about backout itself: that it runs, and that alerts reach it")
	c.Flags().StringToStringVar(&set, "set", nil, "thresholds, such as z=4.5; rules/README.md lists them")
	c.MarkFlagsMutuallyExclusive(ownFlag, "preset")
	c.MarkFlagsMutuallyExclusive(ownFlag, "sensitivity")
	c.MarkFlagsMutuallyExclusive(ownFlag, "set")
	c.MarkFlagsMutuallyExclusive(ownFlag, "engine")
	return c
}

// ruleFile returns the file that the flags select.
func ruleFile(cmd *cobra.Command, o rules.Options, set map[string]string) ([]byte, error) {
	if own, err := cmd.Flags().GetBool(ownFlag); own || err != nil {
		return rules.Own()
	}
	thresholds, err := parseThresholds(set)
	if err != nil {
		return nil, err
	}
	o.Thresholds = thresholds
	return rules.Assemble(o)
}

func parseThresholds(set map[string]string) (map[string]float64, error) {
	thresholds := make(map[string]float64, len(set))
	for kind, text := range set {
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, fmt.Errorf("--set %s=%s: want a number, as in z=4.5", kind, text)
		}
		thresholds[kind] = value
	}
	return thresholds, nil
}
