package traffic

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// writerOf returns the field manager that wrote the canary's weight on a live object: the last
// owner of a field that a shed would change, a rule that it removes included; "" if the object
// does not say it. backout counts only if it owns such fields alone.
// https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
func writerOf(live *unstructured.Unstructured, shed edit) string {
	fields := foreignFields(shed.operations)
	if shed.marks {
		return ""
	}
	var writer string
	var last time.Time
	for _, f := range live.GetManagedFields() {
		owned := func(path string) bool { return owns([]byte(f.FieldsV1.GetRawString()), path) }
		if f.FieldsV1 == nil || !slices.ContainsFunc(fields, owned) || f.Manager == fieldManager && writer != "" {
			continue
		}
		if at := managedAt(f); writer == "" || writer == fieldManager || !at.Before(last) {
			writer, last = f.Manager, at
		}
	}
	return writer
}

// foreignFields returns the paths of the fields that the operations change, without those that
// are backout's own.
func foreignFields(operations []operation) []string {
	var paths []string
	for _, o := range operations {
		if o.Op != "test" && o.Path != annotationsPath && !strings.HasPrefix(o.Path, annotationPath("backout.dev/")) {
			paths = append(paths, o.Path)
		}
	}
	return paths
}

func managedAt(f metav1.ManagedFieldsEntry) time.Time {
	if f.Time == nil {
		return time.Time{}
	}
	return f.Time.Time
}

// owns reports whether managed fields contain the field at a JSON Pointer. A list that is
// owned as a whole contains its entries.
func owns(fields []byte, pointer string) bool {
	var node map[string]any
	if json.Unmarshal(fields, &node) != nil {
		return false
	}
	parts := strings.Split(strings.TrimPrefix(pointer, "/"), "/")
	return ownsBelow(node, parts)
}

func ownsBelow(node map[string]any, parts []string) bool {
	if len(parts) == 0 {
		return true
	}
	part := strings.NewReplacer("~1", "/", "~0", "~").Replace(parts[0])
	if _, err := strconv.Atoi(part); err == nil {
		if len(node) == 0 {
			return true
		}
		// The keys of a list's entries do not say at which index they are.
		for key, below := range node {
			entry, ok := below.(map[string]any)
			if ok && key != "." && ownsBelow(entry, parts[1:]) {
				return true
			}
		}
		return false
	}
	below, ok := node["f:"+part].(map[string]any)
	return ok && (len(below) == 0 || ownsBelow(below, parts[1:]))
}
