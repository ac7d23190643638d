package helm

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/upcommerce/backout/rollback"
)

// revisionLabels are pod labels that charts change with every chart version,
// though the pods run the same.
func revisionLabels() []string {
	return []string{
		"helm.sh/chart", "app.kubernetes.io/version", "app.kubernetes.io/managed-by", "chart", "heritage",
	}
}

// Labels that say which track a pod belongs to and which version it is, and how a
// canary is named where no label says so.
const (
	trackLabel   = "track"
	trackCanary  = "canary"
	canarySuffix = "-canary"
	versionLabel = "app.kubernetes.io/version"
	shortVersion = "version"
)

// workload is one object of a manifest that makes pods.
type workload struct {
	id, kind, namespace, name string
	template                  corev1.PodTemplateSpec
	// raw is the template as declared.
	raw map[string]any
	// canary says that its pods are of the canary's track.
	canary bool
}

// digest returns the digest of what a manifest runs, and the versions its canary
// is known by. The content is the workloads' pod templates and the ConfigMaps
// and Secrets they use; weights, replicas and labels of the revision are not
// part of it. It is "" for a manifest without workloads. Objects that name no
// namespace are in the given one.
func digest(namespace string, all rollback.Manifest) (content string, versions []string) {
	workloads := workloadsOf(namespace, all)
	if len(workloads) == 0 {
		return "", nil
	}
	used := make(map[string]bool)
	parts := make(map[string]any)
	for _, w := range workloads {
		parts[w.id] = w.content()
		for _, id := range references(w.namespace, w.template.Spec) {
			used[id] = true
		}
	}
	for _, object := range all {
		if id := identity(namespace, object); used[id] {
			parts[id] = []any{object["data"], object["stringData"], object["binaryData"]}
		}
	}
	// Maps are encoded in the order of their keys.
	text, err := json.Marshal(parts)
	if err != nil {
		return "", nil
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), canaryVersions(workloads)
}

// identity tells an object from the others of a manifest, whatever the version
// of its API: Deployment.apps/shop/web.
func identity(namespace string, object rollback.Object) string {
	o := &unstructured.Unstructured{Object: object}
	kind := o.GroupVersionKind().GroupKind().String()
	return kind + "/" + cmp.Or(o.GetNamespace(), namespace) + "/" + o.GetName()
}

// workloadsOf returns the objects that make pods, of whatever kind, by what they
// have in common: a pod template, or being a Pod. Where no pod has the label of
// the canary's track, names tell: the same way finds the canary's traffic.
func workloadsOf(namespace string, all rollback.Manifest) []workload {
	var found []workload
	for _, object := range all {
		o := &unstructured.Unstructured{Object: object}
		var raw map[string]any
		for _, path := range [][]string{{"spec", "template"}, {"spec", "jobTemplate", "spec", "template"}} {
			if t, ok, _ := unstructured.NestedMap(o.Object, path...); ok && t["spec"] != nil {
				raw = t
			}
		}
		if o.GetKind() == "Pod" {
			raw = map[string]any{"spec": o.Object["spec"], "metadata": map[string]any{"labels": asAny(o.GetLabels())}}
		}
		if raw == nil {
			continue
		}
		w := workload{
			id: identity(namespace, object), kind: o.GetKind(), name: o.GetName(),
			namespace: cmp.Or(o.GetNamespace(), namespace), raw: raw,
		}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(raw, &w.template); err != nil {
			continue
		}
		w.canary = w.template.Labels[trackLabel] == trackCanary
		found = append(found, w)
	}
	if !slices.ContainsFunc(found, workload.ofCanary) {
		for i := range found {
			found[i].canary = strings.HasSuffix(found[i].name, canarySuffix)
		}
	}
	return found
}

func (w workload) ofCanary() bool { return w.canary }

// content returns the pod template without the labels of its revision.
func (w workload) content() map[string]any {
	content := runtime.DeepCopyJSON(w.raw)
	for _, label := range revisionLabels() {
		unstructured.RemoveNestedField(content, "metadata", "labels", label)
	}
	return content
}

func asAny(labels map[string]string) map[string]any {
	out := make(map[string]any, len(labels))
	for k, v := range labels {
		out[k] = v
	}
	return out
}

// references returns the identities of the ConfigMaps and Secrets that a pod
// reads.
func references(namespace string, spec corev1.PodSpec) []string {
	var names []string
	add := func(kind, name string) { names = append(names, kind+"/"+namespace+"/"+name) }
	for _, v := range spec.Volumes {
		if v.ConfigMap != nil {
			add("ConfigMap", v.ConfigMap.Name)
		}
		if v.Secret != nil {
			add("Secret", v.Secret.SecretName)
		}
		if v.Projected == nil {
			continue
		}
		for _, s := range v.Projected.Sources {
			if s.ConfigMap != nil {
				add("ConfigMap", s.ConfigMap.Name)
			}
			if s.Secret != nil {
				add("Secret", s.Secret.Name)
			}
		}
	}
	for _, container := range slices.Concat(spec.InitContainers, spec.Containers) {
		for _, from := range container.EnvFrom {
			if from.ConfigMapRef != nil {
				add("ConfigMap", from.ConfigMapRef.Name)
			}
			if from.SecretRef != nil {
				add("Secret", from.SecretRef.Name)
			}
		}
		for _, env := range container.Env {
			if env.ValueFrom == nil {
				continue
			}
			if ref := env.ValueFrom.ConfigMapKeyRef; ref != nil {
				add("ConfigMap", ref.Name)
			}
			if ref := env.ValueFrom.SecretKeyRef; ref != nil {
				add("Secret", ref.Name)
			}
		}
	}
	return names
}

// canaryVersions returns the version labels and image tags of the canary's pods;
// of all pods if there is no canary track. Charts label pods with their
// appVersion while the image tag says something else, so both count.
func canaryVersions(workloads []workload) []string {
	canary := slices.DeleteFunc(slices.Clone(workloads), func(w workload) bool { return !w.canary })
	if len(canary) == 0 {
		canary = workloads
	}
	var versions []string
	for _, w := range canary {
		versions = append(versions, w.template.Labels[versionLabel], w.template.Labels[shortVersion])
		for _, container := range w.template.Spec.Containers {
			versions = append(versions, tag(container.Image))
		}
	}
	slices.SortFunc(versions, cmp.Compare[string])
	return slices.DeleteFunc(slices.Compact(versions), func(v string) bool { return v == "" })
}

// tag returns the tag of an image reference, "" if it has none.
func tag(image string) string {
	image, _, _ = strings.Cut(image, "@")
	_, after, found := strings.Cut(image[strings.LastIndex(image, "/")+1:], ":")
	if !found {
		return ""
	}
	return after
}
