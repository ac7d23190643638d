package rollback

import (
	"slices"
	"strings"
)

// In returns the command as it works for a release in that storage: Helm has to know of
// ConfigMaps.
func (c Command) In(s Storage) Command {
	words, ok := splitLine(c.line)
	if s != ConfigMaps || !ok {
		return c
	}
	return newCommand(inConfigMaps(words)...)
}

// inConfigMaps returns the words of a command for a release in ConfigMaps.
func inConfigMaps(words []string) []string {
	var changed []string
	for i, w := range words {
		begins := i == 0 || words[i-1] == joinAnd
		switch {
		case begins && w == "helm":
			changed = append(changed, "env", "HELM_DRIVER="+ConfigMaps.Driver(), w)
		case w == "secret" && slices.Equal(words[:i], []string{"kubectl", "describe"}):
			changed = append(changed, "configmap")
		default:
			changed = append(changed, w)
		}
	}
	return changed
}

// storageForms are the commands of decisions about a release in ConfigMaps. No decision
// contains one: reports show them.
func storageForms() []form {
	var all []form
	for _, f := range decisionForms() {
		words := strings.Fields(string(f))
		if changed := inConfigMaps(words); !slices.Equal(words, changed) {
			all = append(all, form(strings.Join(changed, " ")))
		}
	}
	return all
}
