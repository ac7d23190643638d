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
	var preset string
	var set map[string]string
	c := &cobra.Command{
		Use:   "rules",
		Short: "Print the alert rules for Prometheus",
		Long: `Print the alert rules for Prometheus: those about canaries, for a source of metrics and with
thresholds of your choice, or those about backout itself. rules/README.md explains them.`,
		Example: `  backout rules > canary.rules.yml
  backout rules --preset istio --set z=4.5,requests=100
  backout rules --own > backout.rules.yml`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := ruleFile(cmd, preset, set)
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(b)
			return err
		},
	}
	c.Flags().StringVar(&preset, "preset", rules.DefaultPreset, "source of the metrics: "+strings.Join(rules.Presets(), ", "))
	c.Flags().Bool(ownFlag, false, "the rules about backout itself: that it runs, and that alerts reach it")
	c.Flags().StringToStringVar(&set, "set", nil, "thresholds, such as z=4.5; rules/README.md lists them")
	c.MarkFlagsMutuallyExclusive(ownFlag, "preset")
	c.MarkFlagsMutuallyExclusive(ownFlag, "set")
	return c
}

// ruleFile returns the file that the flags select.
func ruleFile(cmd *cobra.Command, preset string, set map[string]string) ([]byte, error) {
	if own, err := cmd.Flags().GetBool(ownFlag); own || err != nil {
		return rules.Own()
	}
	thresholds, err := parseThresholds(set)
	if err != nil {
		return nil, err
	}
	return rules.Assemble(rules.Options{Preset: preset, Thresholds: thresholds})
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
