package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"
)

// addOutputFlag adds -o, and refuses other formats before the command runs. The value is
// "" for a text.
func addOutputFlag(c *cobra.Command, output *string) {
	c.Flags().StringVarP(output, "output", "o", "", "json or yaml instead of text")
	c.PreRunE = func(*cobra.Command, []string) error {
		if !slices.Contains([]string{"", "json", "yaml"}, *output) {
			return fmt.Errorf("-o %s: want json or yaml", *output)
		}
		return nil
	}
}

// writeAs writes the value as json or yaml.
func writeAs(out io.Writer, format string, value any) error {
	var text []byte
	var err error
	if format == "yaml" {
		text, err = yaml.Marshal(value)
	} else {
		text, err = json.MarshalIndent(value, "", "  ")
		text = append(text, '\n')
	}
	if err == nil {
		_, err = out.Write(text)
	}
	return err
}
