package rollback

import (
	"slices"
	"strings"
	"testing"
)

// Kinds of the core group have no group to name, and kubectl prefers them.
func TestEveryKindInACommandNamesItsGroup(t *testing.T) {
	core := []string{"secret", "configmap", "configmaps"}
	for _, f := range slices.Concat(decisionForms(), hintForms()) {
		words := strings.Fields(string(f))
		for i, verb := range words[:len(words)-1] {
			isVerb := slices.Contains([]string{"get", "describe", "edit", "annotate", "patch", "delete", "label", "scale"}, verb)
			kind := words[i+1]
			if isVerb && strings.Contains(string(f), "kubectl") && kind != "<kind>" && !slices.Contains(core, kind) && !strings.Contains(kind, ".") {
				t.Errorf("%q: %s may be of another group; write resource.group", f, kind)
			}
		}
	}
	for kind, want := range map[string]bool{
		"ingress": false, "ingress.networking.k8s.io": true, "deployment.apps": true, "ingress.": false, "-f.x": false, "ingress.x;reboot": false, "Ingress.x": false,
	} {
		if isValue("<kind>", kind) != want {
			t.Errorf("%q is a kind with its group: want %t", kind, want)
		}
	}
}
