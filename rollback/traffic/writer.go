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

// writerOf returns the field manager that wrote the canary's weight on a live object: the
// owner of the field that a shed would replace, or the last of several; "" if the object does
// not say it.
// https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management
func writerOf(live *unstructured.Unstructured, shed edit) string {
	held := annotationPath(heldAnnotation)
	i := slices.IndexFunc(shed.operations, func(o operation) bool {
		return (o.Op == "add" || o.Op == "replace") && o.Path != held && o.Path != annotationsPath
	})
	if i < 0 || shed.marks {
		return ""
	}
	var writer string
	var last time.Time
	for _, f := range live.GetManagedFields() {
		if f.FieldsV1 == nil || !owns([]byte(f.FieldsV1.GetRawString()), shed.operations[i].Path) {
			continue
		}
		if at := managedAt(f); writer == "" || !at.Before(last) {
			writer, last = f.Manager, at
		}
	}
	return writer
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
