package traffic

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// listPath is where a kind of object has lists of backends.
type listPath struct {
	// path leads to the lists, with * for every entry of a list: "spec.rules.*.backendRefs".
	path string
	// label names the part of the object that has the list, such as "rule".
	label string
}

// backendList is one list of backends in an object.
type backendList struct {
	// label says which one it is among the lists of the object, such as "rule 2".
	label string
	// path is the JSON Pointer of the list.
	path string
	// entries are the object's own, not copies.
	entries []any
}

// in returns every list of the object, including those that are empty, or absent where the
// object could have them.
func (p listPath) in(object *unstructured.Unstructured) []backendList {
	return p.walk(object.Object, strings.Split(p.path, "."), backendList{label: p.label})
}

func (p listPath) walk(node any, path []string, at backendList) []backendList {
	if len(path) == 0 {
		at.entries, _ = node.([]any)
		return []backendList{at}
	}
	if path[0] == "*" {
		var found []backendList
		list, _ := node.([]any)
		for i, n := range list {
			found = append(found, p.walk(n, path[1:], backendList{
				label: fmt.Sprintf("%s %d", p.label, i+1), path: fmt.Sprintf("%s/%d", at.path, i),
			})...)
		}
		return found
	}
	fields, _ := node.(map[string]any)
	// An optional list that is absent does not count among the object's lists; a rule
	// without backends does.
	if _, ok := fields[path[0]]; !ok && at.label == p.label {
		return nil
	}
	return p.walk(fields[path[0]], path[1:], backendList{label: at.label, path: at.path + "/" + path[0]})
}
