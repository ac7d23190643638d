package helm

import (
	"cmp"

	"github.com/upcommerce/backout/rollback"
)

// uses says which configuration which workloads use, by identity.
type uses struct {
	// met is what the canary's pods, or a route, use; other is what the pods that are not
	// part of the content use.
	met, other map[string]bool
	// workloads are those that are not part of the content, as "Deployment/shop".
	workloads map[string]bool
}

// usesOf returns what the workloads use. Those in met are part of the content.
func usesOf(d declaration, all, met []workload) uses {
	u := uses{met: make(map[string]bool), other: make(map[string]bool), workloads: make(map[string]bool)}
	pods := make(map[string]bool)
	for _, w := range met {
		pods[w.id] = true
		addReferences(u.met, w.Namespace, w.Template["spec"])
	}
	for _, w := range all {
		if !pods[w.id] {
			u.workloads[w.Kind+"/"+w.Name] = true
			addReferences(u.other, w.Namespace, w.Template["spec"])
			pods[w.id] = true
		}
	}
	for _, o := range d.objects {
		if id := identity(d.namespace, o); !pods[id] && !u.makesOther(d.namespace, o) {
			addReferences(u.met, namespaceOf(d.namespace, o), o["spec"])
		}
	}
	for _, o := range d.objects {
		if u.makesOther(d.namespace, o) {
			u.other[identity(d.namespace, o)] = true
		}
	}
	return u
}

// onlyOther reports whether only pods that are not part of the content use the object.
func (u uses) onlyOther(id string) bool { return u.other[id] && !u.met[id] }

// scalesOther reports whether the object scales a workload that is not part of the content.
func (u uses) scalesOther(o rollback.Object) bool {
	kind, name := scaleTarget(o)
	return name != "" && u.workloads[cmp.Or(kind, "Deployment")+"/"+name]
}

// makesOther reports whether the object makes a Secret that only other pods use: an
// ExternalSecret, a SealedSecret, a Certificate.
func (u uses) makesOther(namespace string, o rollback.Object) bool {
	name := secretMadeBy(o)
	id := "Secret/" + namespaceOf(namespace, o) + "/" + name
	return name != "" && u.other[id] && !u.met[id]
}

// secretMadeBy returns the name of the Secret that another tool makes of the object; "" for
// any other object.
func secretMadeBy(o rollback.Object) string {
	metadata, _ := o["metadata"].(map[string]any)
	own, _ := metadata["name"].(string)
	spec, _ := o["spec"].(map[string]any)
	switch o["kind"] {
	case "SealedSecret":
		return own
	case "ExternalSecret":
		target, _ := spec["target"].(map[string]any)
		name, _ := target["name"].(string)
		return cmp.Or(name, own)
	case "Certificate":
		name, _ := spec["secretName"].(string)
		return name
	default:
		return ""
	}
}

func namespaceOf(namespace string, o rollback.Object) string {
	metadata, _ := o["metadata"].(map[string]any)
	own, _ := metadata["namespace"].(string)
	return cmp.Or(own, namespace)
}

// addReferences adds the identities of what a spec names, at any depth: ConfigMaps,
// Secrets, claims and the ServiceAccount of a pod, the certificate of an Ingress.
func addReferences(to map[string]bool, namespace string, node any) {
	add := func(kind string, name any) {
		if text, _ := name.(string); text != "" {
			to[kind+"/"+namespace+"/"+text] = true
		}
	}
	switch n := node.(type) {
	case map[string]any:
		for key, value := range n {
			object, _ := value.(map[string]any)
			switch key {
			case "configMap", "configMapRef", "configMapKeyRef":
				add("ConfigMap", object["name"])
			case "secret", "secretRef", "secretKeyRef", "nodePublishSecretRef":
				add("Secret", object["name"])
			case "secretName":
				add("Secret", value)
			case "claimName":
				add("PersistentVolumeClaim", value)
			case "serviceAccountName":
				add("ServiceAccount", value)
			case "secretProviderClass":
				add("SecretProviderClass.secrets-store.csi.x-k8s.io", value)
			case "imagePullSecrets":
				all, _ := value.([]any)
				for _, entry := range all {
					ref, _ := entry.(map[string]any)
					add("Secret", ref["name"])
				}
			}
			addReferences(to, namespace, value)
		}
	case []any:
		for _, value := range n {
			addReferences(to, namespace, value)
		}
	}
}
