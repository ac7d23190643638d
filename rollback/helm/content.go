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

// revisionLabels are pod labels that charts change with every chart version, though
// the pods run the same.
func revisionLabels() []string {
	return []string{
		"helm.sh/chart", "app.kubernetes.io/version", "app.kubernetes.io/managed-by", "chart", "heritage",
	}
}

// The labels that name the version of a pod.
const (
	versionLabel = "app.kubernetes.io/version"
	shortVersion = "version"
)

// workload is a workload of a manifest with its decoded pod template. Its Namespace is
// never "".
type workload struct {
	rollback.Workload
	id  string
	pod corev1.PodTemplateSpec
}

// contentDigest returns the digest of a manifest's content, and the versions its canary
// is known by. The content is the workloads' pod templates and the ConfigMaps and
// Secrets they use; weights, replicas and labels of the revision are not part of it. It
// is "" for a manifest without workloads. Objects that name no namespace are in the
// given one.
func contentDigest(namespace string, all rollback.Manifest) (content string, versions []string) {
	workloads := workloadsOf(namespace, all)
	if len(workloads) == 0 {
		return "", nil
	}
	used := make(map[string]bool)
	parts := make(map[string]any)
	for _, w := range workloads {
		parts[w.id] = w.content()
		for _, id := range references(w.Namespace, w.pod.Spec) {
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

// identity names an object of a manifest uniquely, whatever the version of its API:
// Deployment.apps/shop/web.
func identity(namespace string, object rollback.Object) string {
	o := &unstructured.Unstructured{Object: object}
	kind := o.GroupVersionKind().GroupKind().String()
	return kind + "/" + cmp.Or(o.GetNamespace(), namespace) + "/" + o.GetName()
}

// workloadsOf returns the workloads of a manifest whose pod templates can be decoded.
func workloadsOf(namespace string, all rollback.Manifest) []workload {
	var found []workload
	for _, declared := range all.Workloads() {
		w := workload{Workload: declared, id: identity(namespace, declared.Object)}
		w.Namespace = cmp.Or(w.Namespace, namespace)
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(w.Template, &w.pod); err != nil {
			continue
		}
		found = append(found, w)
	}
	return found
}

func (w workload) ofCanary() bool { return w.Canary }

// content returns the pod template without the labels of its revision.
func (w workload) content() map[string]any {
	content := runtime.DeepCopyJSON(w.Template)
	for _, label := range revisionLabels() {
		unstructured.RemoveNestedField(content, "metadata", "labels", label)
	}
	return content
}

// references returns the identities of the ConfigMaps and Secrets that a pod reads.
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

// canaryVersions returns the version labels and image tags of the canary's pods; of all
// pods if there is no canary track. Some charts label pods with their appVersion while
// the image tag says something else, so both count.
func canaryVersions(workloads []workload) []string {
	canary := slices.DeleteFunc(slices.Clone(workloads), func(w workload) bool { return !w.Canary })
	if len(canary) == 0 {
		canary = workloads
	}
	var versions []string
	for _, w := range canary {
		versions = append(versions, w.pod.Labels[versionLabel], w.pod.Labels[shortVersion])
		for _, container := range w.pod.Spec.Containers {
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
