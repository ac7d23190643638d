package main

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/upcommerce/backout/rules"
)

// rulesCommand returns the command that prints the alert rules. It needs no
// cluster and no configuration.
func rulesCommand() *cobra.Command {
	var preset string
	var set map[string]string
	c := &cobra.Command{
		Use:   "rules",
		Short: "Print the alert rules for Prometheus: where the numbers come from, and how sure they have to be",
		Example: "  backout rules > canary.rules.yml\n" +
			"  backout rules --preset istio --set z=4.5,requests=100\n" +
			"  backout rules --own > backout.rules.yml",
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
	c.Flags().StringVar(&preset, "preset", rules.DefaultPreset, "where the numbers come from: "+strings.Join(rules.Presets(), ", "))
	c.Flags().Bool(ownFlag, false, "the rules about backout itself, which tell when it is down or alerts do not get to it")
	c.Flags().StringToStringVar(&set, "set", nil, "thresholds, as in z=4.5; rules/README.md lists them")
	c.MarkFlagsMutuallyExclusive(ownFlag, "preset")
	c.MarkFlagsMutuallyExclusive(ownFlag, "set")
	return c
}

const ownFlag = "own"

// ruleFile returns the file that the flags ask for.
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
