package rollback

import "strings"

// ArgoCD returns the owner that an object's tracking annotation names, which is of the
// form "app:group/kind:namespace/name"; false if there is none. An object that an
// operator made of another one inherits the annotation, and bears the other one's
// name: that one is not the application's.
//
// Anybody who may write the object may write the annotation. An application's name
// that is none gets into no command.
func ArgoCD(trackingID, kind, name string) (Owner, bool) {
	id := strings.Split(trackingID, ":")
	if len(id) != 3 || id[0] == "" || !strings.HasSuffix(id[1], "/"+kind) || !strings.HasSuffix(id[2], "/"+name) {
		return Owner{}, false
	}
	if strings.ContainsFunc(id[0], func(r rune) bool { return !strings.ContainsRune(applicationRunes, r) }) {
		return Owner{Tool: "Argo CD", Object: "an Application whose name cannot be one", Do: "argocd app list"}, true
	}
	return Owner{Tool: "Argo CD", Object: "Application " + id[0], Do: "argocd app rollback " + id[0]}, true
}

// applicationRunes are what the names of applications are made of; with an underscore
// after the namespace, where Argo CD has them in any.
const applicationRunes = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._"
