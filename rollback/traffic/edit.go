package traffic

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/upcommerce/backout/rollback"
)

// heldAnnotation is backout's own: the weights that a shed found. It stays on a routing
// object for as long as a canary's weight is held at zero there.
const heldAnnotation = rollback.HeldAnnotation

// edit is one change of a routing object.
type edit struct {
	// weights are the canary's, before and after.
	weights    []rollback.Weight
	operations []operation
	// marks says that the operations only mark a weight that is zero already.
	marks bool
}

// atZero reports whether the edit of a shed finds the canary's weight at zero, and marked.
func (e edit) atZero() bool { return len(e.weights) > 0 && len(e.operations) == 0 }

// operation is one step of a JSON Patch (RFC 6902).
type operation struct {
	Op, Path string
	Value    any
}

// MarshalJSON keeps a value that is zero: only a remove has none.
func (o operation) MarshalJSON() ([]byte, error) {
	if o.Op == "remove" {
		return json.Marshal(map[string]any{"op": o.Op, "path": o.Path})
	}
	return json.Marshal(map[string]any{"op": o.Op, "path": o.Path, "value": o.Value})
}

// annotate returns the operations that set one annotation. Use annotateAll for several:
// they replace each other on an object without annotations.
func annotate(live *unstructured.Unstructured, name, value string) []operation {
	return annotateAll(live, map[string]string{name: value})
}

// annotateAll returns the operations that set the annotations.
func annotateAll(live *unstructured.Unstructured, values map[string]string) []operation {
	if live.GetAnnotations() == nil {
		return []operation{{Op: "add", Path: annotationsPath, Value: values}}
	}
	var operations []operation
	for _, name := range slices.Sorted(maps.Keys(values)) {
		operations = append(operations, operation{Op: "add", Path: annotationPath(name), Value: values[name]})
	}
	return operations
}

// unannotate returns the operations that remove those of the annotations that the object
// has.
func unannotate(live *unstructured.Unstructured, names ...string) []operation {
	var operations []operation
	for _, name := range names {
		if _, ok := live.GetAnnotations()[name]; ok {
			operations = append(operations, operation{Op: "remove", Path: annotationPath(name)})
		}
	}
	return operations
}

const annotationsPath = "/metadata/annotations"

// annotationPath is the JSON Pointer (RFC 6901) of an annotation.
func annotationPath(name string) string {
	return annotationsPath + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(name)
}

// valueAt returns the value at a JSON Pointer.
func valueAt(node any, pointer string) (any, bool) {
	for part := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		part = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
		switch n := node.(type) {
		case map[string]any:
			value, ok := n[part]
			if !ok {
				return nil, false
			}
			node = value
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || i >= len(n) {
				return nil, false
			}
			node = n[i]
		default:
			return nil, false
		}
	}
	return node, true
}
