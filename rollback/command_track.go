package rollback

import (
	"cmp"
	"slices"
	"strings"
)

// trackOption is the flag of the commands that find the canary by its label.
const trackOption = "--track-label"

// WithTrack returns the command as it finds the canary by the label that the running backout has: a
// Track.Option. It returns the command itself for "", and one that looks for no canary.
func (c Command) WithTrack(label string) Command {
	words, ok := splitLine(c.line)
	if label == "" || !ok || !findsCanary(words) {
		return c
	}
	return cmp.Or(newCommand(append(words, trackOption, label)...), c)
}

// findsCanary reports whether the words end in a command of backout that has the flag.
func findsCanary(words []string) bool {
	for i := range len(words) - 1 {
		begins := i == 0 || words[i-1] == joinAnd || i == 1 && words[0] == "kubectl"
		if begins && words[i] == "backout" && slices.Contains([]string{"rollback", "hold", "unhold"}, words[i+1]) {
			return true
		}
	}
	return false
}

// trackForms are the forms of those commands with the flag. No decision contains one: reports show
// them.
func trackForms(all []form) []form {
	var found []form
	for _, f := range all {
		if findsCanary(strings.Fields(string(f))) {
			found = append(found, f+" "+trackOption+" <track>")
		}
	}
	return found
}
