package rollback

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// form is the words of a command. A word in angle brackets has a value: isValue says which
// values it may have.
type form string

// decisionForms are the commands that a decision may contain. A stored one is shown only if
// it has one of these forms.
func decisionForms() []form {
	const (
		rollBack      = "backout rollback <key> --to <revision>"
		plainRollBack = "helm rollback <release> <revision> -n <namespace>"
	)
	return []form{
		rollBack,
		rollBack + " --allow <dangers>",
		plainRollBack,
		"helm history <release> -n <namespace>",
		"kubectl describe secret <name> -n <namespace>",
		"backout unhold <key>",
		"backout release <key>", // as earlier versions call unhold
		"flux suspend helmrelease <name> -n <other-namespace>",
		"flux suspend helmrelease <name> -n <other-namespace> && " + rollBack,
		"flux suspend helmrelease <name> -n <other-namespace> && " + plainRollBack,
		"flux suspend kustomization <name> -n <other-namespace>",
		"flux suspend kustomization <name> -n <other-namespace> && " + rollBack,
		"flux suspend kustomization <name> -n <other-namespace> && " + plainRollBack,
		"flux get helmreleases -A",
		"flux get kustomizations -A",
		"argocd app rollback <application>", // as earlier versions print it
		"argocd app set <application> --sync-policy none && argocd app rollback <application>",
		"argocd app list",
		"kubectl argo rollouts abort <name> -n <other-namespace>",
		"kubectl argo rollouts list rollouts -n <other-namespace>",
		"curl -d <gate-body> <gate>",
		// -I makes one argument of the target, and -- no option: the Canary's author chooses it.
		"kubectl -n <other-namespace> get canaries.flagger.app <name> -o " + flaggerTarget + " | xargs -I{} kubectl -n <other-namespace> rollout undo -- {}",
		"kubectl get canaries.flagger.app -n <other-namespace>",
	}
}

// hintForms are the commands that backout shows, and that no decision contains.
func hintForms() []form {
	all := []form{
		"helm list -A",
		"kubectl get configmap <name> -n <namespace> -o yaml",
		"kubectl get configmaps -A -l app.kubernetes.io/managed-by=backout -L backout.dev/verdict",
		"kubectl annotate configmap <name> -n <namespace> backout.dev/installation-",
		"kubectl edit <kind> <name> -n <namespace>",
		"kubectl annotate <kind> <name> -n <namespace> " + HeldAnnotation + "- " + HeldRulesAnnotation + "-",
	}
	for _, own := range []form{
		"backout hold <key>", "backout unhold <key>", "backout resume <key>", "backout resume <namespace>", "backout resume",
		"backout records <namespace>", "backout explain <record>",
	} {
		all = append(all, own, "kubectl "+own)
	}
	return slices.Concat(all, storageForms(), trackForms(slices.Concat(decisionForms(), all)))
}

// Words of forms that are not names.
const (
	joinAnd     = "&&"
	joinPipe    = "|"
	anyRevision = "REVISION"
	// A kind is printed with its group: another group may have one of the same name.
	flaggerResource = "canaries.flagger.app"
	flaggerTarget   = "jsonpath={.spec.targetRef.kind}/{.spec.targetRef.name}"
)

// MaxCommand bounds a command, in bytes. There is no longer one: half a command is another
// command.
const MaxCommand = 800

// Bounds of the words of commands, in bytes. Kubernetes limits names to 253.
const (
	maxObjectName = 253
	maxGate       = 200
)

var (
	kindPattern     = regexp.MustCompile(`^[a-z][a-z0-9]{0,62}(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?){1,8}$`) // with its group
	revisionPattern = regexp.MustCompile(`^[1-9][0-9]{0,9}$`)
	gateBodyPattern = regexp.MustCompile(`^\{"name": "[-a-z0-9.]{1,253}", "namespace": "[-a-z0-9]{1,63}"\}$`)
	gatePattern     = regexp.MustCompile(`^https?://[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]+)?(/[A-Za-z0-9._~%:=+-]*)+$`)
)

// values are the values of a form's words in angle brackets, by these words.
type values map[string]string

// match returns the values of the form's words, and whether these are its words. The same
// word has the same value wherever it occurs.
func (f form) match(words []string) (values, bool) {
	own := strings.Fields(string(f))
	if len(own) != len(words) {
		return nil, false
	}
	found := make(values)
	for i, w := range own {
		switch {
		case !strings.HasPrefix(w, "<"):
			if w != words[i] {
				return nil, false
			}
		case !isValue(w, words[i]) || found[w] != "" && found[w] != words[i]:
			return nil, false
		default:
			found[w] = words[i]
		}
	}
	return found, true
}

// isAbout reports whether the values name no other release than k.
func (v values) isAbout(k Key) bool {
	for word, own := range map[string]string{"<release>": k.Release, "<namespace>": k.Namespace, "<key>": k.String()} {
		if value, found := v[word]; found && value != own {
			return false
		}
	}
	return true
}

// isValue reports whether s may be the value of a form's word. No value is an option: none
// begins with a dash.
func isValue(word, s string) bool {
	switch word {
	case "<namespace>", "<other-namespace>":
		return IsNamespace(s)
	case "<release>":
		return isRelease(s)
	case "<key>":
		namespace, release, _ := strings.Cut(s, "/")
		return IsNamespace(namespace) && isRelease(release)
	case "<record>":
		i := strings.LastIndex(s, "/")
		return i > 0 && isValue("<key>", s[:i]) && isRevision(s[i+1:])
	case "<revision>":
		return s == anyRevision || isRevision(s)
	case "<dangers>":
		return isDangers(s)
	case "<kind>":
		return kindPattern.MatchString(s)
	case "<track>":
		return isTrackOption(s)
	case "<name>":
		return isName(s)
	case "<application>":
		// Argo CD puts the namespace and an underscore before the name of an application
		// in another namespace.
		namespace, name, other := strings.Cut(s, "_")
		return isName(s) || other && IsNamespace(namespace) && isName(name)
	case "<gate>":
		return isGate(s)
	case "<gate-body>":
		return gateBodyPattern.MatchString(s)
	default:
		return false
	}
}

func isRelease(s string) bool { return len(s) <= maxReleaseName && releasePattern.MatchString(s) }

// isName reports whether s may be the name of an object of Kubernetes.
func isName(s string) bool { return len(s) <= maxObjectName && releasePattern.MatchString(s) }

// isDangers reports whether s is a list of dangers that an operator may allow.
func isDangers(s string) bool {
	for kind := range strings.SplitSeq(s, ",") {
		if !slices.Contains(AllowableDangers(), DangerKind(kind)) {
			return false
		}
	}
	return true
}

func isRevision(s string) bool { return revisionPattern.MatchString(s) }

// isGate reports whether s is an address of a plain host and path: no user, no query, and
// nothing that curl expands.
func isGate(s string) bool {
	u, err := url.Parse(s)
	if err != nil || len(s) > maxGate || u.Scheme != "http" && u.Scheme != "https" {
		return false
	}
	return gatePattern.MatchString(s)
}

// IsValid reports whether the key may name a release: what Kubernetes and Helm accept.
func (k Key) IsValid() bool { return IsNamespace(k.Namespace) && isRelease(k.Release) }
