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

// declaration is what a revision declares, and what its parts may be named after.
type declaration struct {
	track     rollback.Track
	namespace string
	objects   rollback.Manifest
	// number is the revision's, and names are the versions of its chart, as labels have them.
	number string
	names  []string
}

// content is what users' requests meet of a revision.
type content struct {
	// digest is that of the whole content; "" if the manifest has no workload.
	digest string
	// canary says what is taken for the canary and why; "" if nothing is. versions, images
	// and pods are the canary's, or those of all workloads: its versions as metrics may call
	// them, the images it runs, and the digest of each pod as it runs.
	canary                 string
	versions, images, pods []string
}

// contentOf returns the content of a revision: of all objects of its manifest what the
// canary's requests meet, and for a plain release what all requests meet. It leaves out
// what a ramp changes in every step:
//   - workloads of the stable track, and the configuration that only they use
//   - Jobs
//   - routing weights and replica counts
//   - annotations of pod templates, such as checksums and random texts
//   - labels and annotations that name the revision, the chart's version or a time
//
// Objects that name no namespace are in the release's.
func contentOf(d declaration) content {
	all := workloadsOf(d.track, d.namespace, d.objects)
	canary := slices.DeleteFunc(slices.Clone(all), func(w workload) bool { return !w.Canary || w.isJob() })
	c := content{canary: rollback.DescribeCanary(declaredOf(all))}
	if len(canary) == 0 {
		canary = slices.DeleteFunc(slices.Clone(all), workload.isJob)
	}
	if len(canary) == 0 {
		return content{}
	}
	u := usesOf(d, all, canary)
	c.digest, c.versions = digestOf(d.met(all, canary, u)), canaryVersions(canary)
	byID := make(map[string]rollback.Object, len(d.objects))
	for _, o := range d.objects {
		byID[identity(d.namespace, o)] = o
	}
	for _, w := range canary {
		c.images = append(c.images, imagesOf(w)...)
		c.pods = append(c.pods, digestOf(d.podAsItRuns(w, byID)))
	}
	slices.Sort(c.images)
	slices.Sort(c.pods)
	c.images, c.pods = slices.Compact(c.images), slices.Compact(c.pods)
	return c
}

// met returns the parts of the content by the objects' identity.
func (d declaration) met(all, canary []workload, u uses) map[string]any {
	parts, templates := make(map[string]any), make(map[string]bool)
	for _, w := range all {
		templates[w.id] = true
	}
	for _, w := range canary {
		parts[w.id] = d.template(w)
	}
	for _, object := range d.objects {
		id := identity(d.namespace, object)
		if !templates[id] && !u.onlyOther(id) && !u.scalesOther(object) {
			parts[id] = d.object(object)
		}
	}
	return parts
}

// digestOf returns the digest of a JSON value; "" if it cannot be encoded. Maps are
// encoded in the order of their keys.
func digestOf(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// identity names an object of a manifest uniquely, whatever the version of its API:
// Deployment.apps/shop/web.
func identity(namespace string, object rollback.Object) string {
	o := &unstructured.Unstructured{Object: object}
	kind := o.GroupVersionKind().GroupKind().String()
	return kind + "/" + cmp.Or(o.GetNamespace(), namespace) + "/" + o.GetName()
}

// workloadsOf returns the workloads of a manifest whose pod templates can be decoded.
func workloadsOf(track rollback.Track, namespace string, all rollback.Manifest) []workload {
	var found []workload
	for _, declared := range track.Workloads(all) {
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

// isJob reports whether the workload ends by itself, and no schedule starts it again.
func (w workload) isJob() bool { return w.Kind == "Job" }

func declaredOf(all []workload) []rollback.Workload {
	found := make([]rollback.Workload, len(all))
	for i, w := range all {
		found[i] = w.Workload
	}
	return found
}

func imagesOf(w workload) []string {
	var found []string
	for _, c := range slices.Concat(w.pod.Spec.InitContainers, w.pod.Spec.Containers) {
		if c.Image != "" {
			found = append(found, c.Image)
		}
	}
	return found
}

// canaryVersions returns the version labels and image tags of the pods. Some charts label
// pods with their appVersion while the image tag says something else, so both count.
func canaryVersions(canary []workload) []string {
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
