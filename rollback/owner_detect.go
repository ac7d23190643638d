package rollback

import (
	"cmp"
	"fmt"
	"strings"
)

// How other tools mark their objects.
const (
	fluxHelm           = "helm.toolkit.fluxcd.io"
	fluxKustomize      = "kustomize.toolkit.fluxcd.io"
	argoCDTracking     = "argocd.argoproj.io/tracking-id"
	flaggerGroup       = "flagger.app"
	flaggerKind        = "Canary"
	flaggerWebhook     = "rollback"
	rolloutsGroup      = "argoproj.io"
	rolloutsKind       = "Rollout"
	rolloutsAnnotation = "argo-rollouts.argoproj.io/managed-by-rollouts"
)

// ReleaseOwner returns the tool that manages the objects of a release, declared or
// live; the zero Owner if none does. A tool that sets weights comes before one that
// only applies manifests.
//
// A Canary or a Rollout among the objects counts if it controls one of the workloads
// among them. The command rolls back to the target; without one (0) it says REVISION.
func ReleaseOwner(k Key, target int, objects Manifest) Owner {
	workloads := make(map[string]bool)
	for _, w := range objects.Workloads() {
		workloads[w.Kind+"/"+cmp.Or(w.Namespace, k.Namespace)+"/"+w.Name] = true
	}
	// Flagger sets weights itself, so that backout's own command leaves the release to it.
	rollBack, plain := k.rollbackTemplate(), k.helmRollbackTemplate()
	if target > 0 {
		rollBack, plain = k.RollbackCommand(target), k.HelmRollbackCommand(target)
	}
	var found Owner
	for _, o := range objects {
		self := referenceTo(o, k.Namespace)
		if self.controlsOne(o, workloads) {
			found = found.Stronger(self.owner(flaggerGate(o), plain))
		}
		found = found.Stronger(creator(o, self.namespace, plain)).Stronger(deployer(o, rollBack))
	}
	return found
}

// DeclaredOwner returns the tool that sets the canary's weight because the release
// declares a Canary or a Rollout; the zero Owner if it declares neither.
func DeclaredOwner(k Key, m Manifest) Owner {
	for _, o := range m {
		if owner := referenceTo(o, k.Namespace).owner("", Command{}); owner.Tool != "" {
			return owner
		}
	}
	return Owner{}
}

// ObjectOwner returns the tool that manages a live object; the zero Owner if none does.
// A tool that sets weights comes before one that only applies manifests.
func ObjectOwner(live Object) Owner {
	namespace := text(live, "metadata", "namespace")
	owner := creator(live, namespace, Command{})
	if name := text(live, "metadata", "annotations", rolloutsAnnotation); name != "" {
		owner = owner.Stronger(argoRollouts(namespace, name))
	}
	return owner.Stronger(deployer(live, Command{}))
}

// reference names an object.
type reference struct{ apiVersion, kind, namespace, name string }

func referenceTo(o Object, namespace string) reference {
	return reference{
		text(o, "apiVersion"), text(o, "kind"), cmp.Or(text(o, "metadata", "namespace"), namespace), text(o, "metadata", "name"),
	}
}

// controlsOne reports whether the object o, to which r refers, is one of the workloads
// or refers to one, as Canaries and Rollouts do. Workloads are kind/namespace/name.
func (r reference) controlsOne(o Object, workloads map[string]bool) bool {
	if workloads[r.kind+"/"+r.namespace+"/"+r.name] {
		return true
	}
	for _, name := range []string{"targetRef", "workloadRef"} {
		if workloads[text(o, "spec", name, "kind")+"/"+r.namespace+"/"+text(o, "spec", name, "name")] {
			return true
		}
	}
	return false
}

// owner returns the tool whose object shifts traffic; the zero Owner if the reference
// is to another kind. For gate and rollBack see flagger.
func (r reference) owner(gate string, rollBack Command) Owner {
	group, _, _ := strings.Cut(r.apiVersion, "/")
	switch {
	case group == flaggerGroup && r.kind == flaggerKind:
		return flagger(r.namespace, r.name, gate, rollBack)
	case group == rolloutsGroup && r.kind == rolloutsKind:
		return argoRollouts(r.namespace, r.name)
	default:
		return Owner{}
	}
}

// creator returns the tool that sets weights and created the object, according to the
// object's owner references; the zero Owner if none did.
func creator(o Object, namespace string, rollBack Command) Owner {
	references, _ := field(o, "metadata")["ownerReferences"].([]any)
	for _, item := range references {
		ref, _ := item.(map[string]any)
		r := reference{text(ref, "apiVersion"), text(ref, "kind"), namespace, text(ref, "name")}
		if owner := r.owner("", rollBack); owner.Tool != "" {
			return owner
		}
	}
	return Owner{}
}

// deployer returns the tool that applies the object as it is declared elsewhere; the
// zero Owner if none does.
func deployer(o Object, rollBack Command) Owner {
	labels := field(o, "metadata", "labels")
	for _, f := range []struct{ group, kind string }{{fluxHelm, "HelmRelease"}, {fluxKustomize, "Kustomization"}} {
		if name, namespace := text(labels, f.group+"/name"), text(labels, f.group+"/namespace"); name != "" && namespace != "" {
			return flux(f.kind, namespace, name, rollBack)
		}
	}
	return argoCD(o)
}

// Every client that may write an object may write its labels, annotations and owner
// references. Names in them that cannot be names of objects become part of no text and of
// no command: the command lists the objects that there are.

// owned returns the owner whose object has this kind and name. Without a command, because
// the name cannot be one, the owner's command is list, and its object has no name.
func owned(tool, kind, name string, command, list Command) Owner {
	if command == (Command{}) {
		return Owner{Tool: tool, Object: kind + " whose name cannot be one", Command: list}
	}
	return Owner{Tool: tool, Object: kind + " " + name, Command: command}
}

// flux suspends the object, because Flux would undo a rollback, and then rolls back if
// that command is given.
func flux(kind, namespace, name string, rollBack Command) Owner {
	resource := strings.ToLower(kind)
	suspend := newCommand("flux", "suspend", resource, name, "-n", namespace)
	return owned("Flux", kind, namespace+"/"+name, suspend.then(rollBack), newCommand("flux", "get", resource+"s", "-A"))
}

// argoCD returns the owner that an object's tracking annotation names, which has the
// form "app:group/kind:namespace/name"; the zero Owner if it names none. An object that
// a controller derived from another one inherits the annotation with the name of the
// other one: the application does not manage it. Argo CD refuses a rollback for as long as it
// syncs the application by itself.
func argoCD(o Object) Owner {
	id := strings.Split(text(o, "metadata", "annotations", argoCDTracking), ":")
	if len(id) != 3 || id[0] == "" || !strings.HasSuffix(id[1], "/"+text(o, "kind")) || !strings.HasSuffix(id[2], "/"+text(o, "metadata", "name")) {
		return Owner{}
	}
	command := newCommand("argocd", "app", "set", id[0], "--sync-policy", "none", joinAnd, "argocd", "app", "rollback", id[0])
	return owned("Argo CD", "Application", id[0], command, newCommand("argocd", "app", "list"))
}

// argoRollouts aborts a Rollout. Its name may come from an annotation.
func argoRollouts(namespace, name string) Owner {
	owner := owned("Argo Rollouts", "Rollout", namespace+"/"+name,
		newCommand("kubectl", "argo", "rollouts", "abort", name, "-n", namespace),
		newCommand("kubectl", "argo", "rollouts", "list", "rollouts", "-n", namespace))
	owner.SetsWeights = true
	return owner
}

// flagger aborts a Canary by opening the gate of its rollback webhook, a URL. Without a
// gate Flagger has no command for that: it starts again once the workload that it
// watches has its old template back, by rollBack if that is given.
func flagger(namespace, name, gate string, rollBack Command) Owner {
	command := cmp.Or(
		newCommand("curl", "-d", fmt.Sprintf(`{"name": %q, "namespace": %q}`, name, namespace), gate),
		rollBack,
		newCommand("kubectl", "-n", namespace, "get", flaggerResource, name, "-o", flaggerTarget,
			joinPipe, "xargs", "-I{}", "kubectl", "-n", namespace, "rollout", "undo", "--", "{}"),
	)
	if !isName(name) || !IsNamespace(namespace) {
		command = Command{}
	}
	owner := owned("Flagger", "Canary", namespace+"/"+name, command, newCommand("kubectl", "get", flaggerResource, "-n", namespace))
	owner.SetsWeights = true
	return owner
}

// flaggerGate returns the URL that opens the gate of a Canary's rollback webhook; ""
// if it has none. Flagger queries the gate at .../check, and its load tester opens it
// at .../open.
func flaggerGate(canary Object) string {
	webhooks, _ := field(canary, "spec", "analysis")["webhooks"].([]any)
	for _, item := range webhooks {
		webhook, _ := item.(map[string]any)
		base, found := strings.CutSuffix(text(webhook, "url"), "/check")
		if found && isGate(base+"/open") && text(webhook, "type") == flaggerWebhook {
			return base + "/open"
		}
	}
	return ""
}
