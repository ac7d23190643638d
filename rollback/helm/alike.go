package helm

import (
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/upcommerce/backout/rollback"
)

// revisionNames are the texts that name the suspect and the target revision.
type revisionNames [2][]string

// alike reports whether both sides declare an object alike, but for labels and annotations
// that name the revision, the chart's version or a time.
func (n revisionNames) alike(before, after *resource.Info) bool {
	from, ok := before.Object.(*unstructured.Unstructured)
	to, okToo := after.Object.(*unstructured.Unstructured)
	if !ok || !okToo {
		return false
	}
	a, b := runtime.DeepCopyJSON(from.Object), runtime.DeepCopyJSON(to.Object)
	return n.sameMetadata(a, b,
		[]string{"metadata"},
		[]string{"spec", "template", "metadata"},
		[]string{"spec", "jobTemplate", "metadata"},
		[]string{"spec", "jobTemplate", "spec", "template", "metadata"},
	) && reflect.DeepEqual(a, b)
}

// sameMetadata removes the labels and annotations at the paths from both objects, and reports
// whether they are the same.
func (n revisionNames) sameMetadata(a, b map[string]any, paths ...[]string) bool {
	for _, path := range paths {
		for _, part := range []string{"labels", "annotations"} {
			at := append(slices.Clone(path), part)
			if !sameTexts(take(a, at), take(b, at), n) {
				return false
			}
		}
	}
	return true
}

// take removes the map at a path and returns it.
func take(o map[string]any, path []string) map[string]any {
	found, _, _ := unstructured.NestedMap(o, path...)
	unstructured.RemoveNestedField(o, path...)
	return found
}

// sameTexts compares labels or annotations. Two values of a key are the same if each
// names its own revision.
func sameTexts(a, b map[string]any, names revisionNames) bool {
	if len(a) != len(b) {
		return false
	}
	for key, value := range a {
		other, both := b[key]
		if !both || value != other && !slices.Contains(revisionLabels(), key) && !(namesRevision(value, names[0]) && namesRevision(other, names[1])) {
			return false
		}
	}
	return true
}

// namesRevision reports whether the value is one of the revision's names, or a time.
func namesRevision(value any, names []string) bool {
	text, _ := value.(string)
	return slices.Contains(names, text) || isTime(text)
}

// namesOf returns the texts that name a revision: its number, the versions of its chart,
// and the tags of its images.
func namesOf(r *release.Release) []string {
	return slices.Concat([]string{strconv.Itoa(r.Version)}, imageTags(r), chartNames(r))
}

// chartNames returns the versions of a revision's chart as labels have them.
func chartNames(r *release.Release) []string {
	var names []string
	if r.Chart == nil || r.Chart.Metadata == nil {
		return names
	}
	m := r.Chart.Metadata
	for _, version := range []string{m.Version, m.AppVersion} {
		if version == "" {
			continue
		}
		label := strings.ReplaceAll(version, "+", "_") // a label holds no plus sign
		names = append(names, version, label, "v"+version, m.Name+"-"+version, m.Name+"-"+label)
	}
	return names
}

// imageTags returns the tags of the images that a revision's workloads run.
func imageTags(r *release.Release) []string {
	all, err := decodeManifest(r.Manifest)
	if err != nil {
		return nil
	}
	var tags []string
	for _, w := range workloadsOf(rollback.Track{}, r.Namespace, all) {
		for _, c := range slices.Concat(w.pod.Spec.InitContainers, w.pod.Spec.Containers) {
			if t := tag(c.Image); t != "" {
				tags = append(tags, t)
			}
		}
	}
	return tags
}

// firstSecond and lastSecond bound the seconds since 1970 that are taken for a time.
const firstSecond, lastSecond = 1_500_000_000, 2_100_000_000

// isTime reports whether the text is a date or a time, or the seconds, milliseconds or
// nanoseconds since 1970 of a time between 2017 and 2036: 1073741824 is a size.
func isTime(text string) bool {
	for _, layout := range []string{
		time.RFC3339Nano, time.DateTime, time.DateOnly, time.RFC1123, time.RFC1123Z, time.UnixDate, "20060102150405", "20060102-150405",
		"2006-01-02T15:04:05", "2006-01-02-15-04-05", "2006-01-02 15:04:05.999999999 -0700 MST",
	} {
		if _, err := time.Parse(layout, text); err == nil {
			return true
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	switch {
	case err != nil || strings.Trim(text, "0123456789") != "":
		return false
	case len(text) == 13:
		n /= 1e3
	case len(text) == 19:
		n /= 1e9
	case len(text) != 10:
		return false
	}
	return n >= firstSecond && n <= lastSecond
}
