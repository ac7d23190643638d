package rollback

import "strings"

// WriterKind is who writes a field, judged by the name of its field manager. A field manager
// chooses its own name: the answer decides whether a weight stays, never what else may be
// done.
type WriterKind int

const (
	// WriterUnknown is a name that says nothing.
	WriterUnknown WriterKind = iota
	// WriterOperator is a tool with which operators change single objects.
	WriterOperator
	// WriterController is a program that keeps objects as they are declared elsewhere.
	WriterController
	// WriterHelm is Helm, or a program with Helm in it.
	WriterHelm
)

// WriterOf returns who has that name as a field manager.
func WriterOf(fieldManager string) WriterKind {
	name := strings.ToLower(fieldManager)
	contains := func(parts ...string) bool {
		for _, part := range parts {
			if strings.Contains(name, part) {
				return true
			}
		}
		return false
	}
	begins := func(prefixes ...string) bool {
		for _, prefix := range prefixes {
			if strings.HasPrefix(name, prefix) {
				return true
			}
		}
		return false
	}
	switch {
	case begins("kubectl", "k9s", "lens", "openlens", "freelens", "headlamp", "mozilla", "dashboard", "node-fetch"), name == "oc":
		return WriterOperator
	case contains("controller", "operator", "argocd", "argo-cd", "flux", "keda", "flagger", "rollouts", "autoscaler", "crossplane", "config-sync", "configsync", "fleet", "gitops"):
		return WriterController
	case contains("helm"):
		return WriterHelm
	}
	return WriterUnknown
}
