package traffic

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// listPath is where a kind of object has lists of backends.
type listPath struct {
	// path leads to the lists, with * for every entry of a list: "spec.rules.*.backendRefs". An
	// object in place of a list is a list with that one entry.
	path string
	// label names the part of the object that has the list, such as "rule", with a word for
	// each * of the path.
	label string
	// first leads to an entry in front of those of the list, which may be absent; "" for none.
	first string
	// optional says that a part without the list has its backends elsewhere.
	optional bool
}

// backendList is one list of backends in an object.
type backendList struct {
	// label says which one it is among the lists of the object, such as "rule 2".
	label string
	// path is the JSON Pointer of the list, and first that of an entry in front of it; "" for
	// none.
	path, first string
	// entries are the object's own, not copies.
	entries []any
}

// entryPath returns the JSON Pointer of the entry at that index.
func (l backendList) entryPath(i int) string {
	if l.first != "" {
		if i == 0 {
			return l.first
		}
		i--
	}
	return fmt.Sprintf("%s/%d", l.path, i)
}

// in returns every list of the object, including those that are empty, or absent where the
// object could have them.
func (p listPath) in(object *unstructured.Unstructured) []backendList {
	if p.first == "" {
		return p.walk(object.Object, strings.Split(p.path, "."), strings.Fields(p.label), backendList{})
	}
	all := backendList{label: p.label, path: pointerOf(p.path), first: pointerOf(p.first)}
	entry, ok := valueAt(object.Object, all.first)
	if !ok {
		return nil
	}
	list, _ := valueAt(object.Object, all.path)
	others, _ := list.([]any)
	all.entries = append([]any{entry}, others...)
	return []backendList{all}
}

// pointerOf returns the JSON Pointer of a path without any *.
func pointerOf(path string) string { return "/" + strings.ReplaceAll(path, ".", "/") }

// walk goes on below a node. The labels are those of the *s that are left in the path.
func (p listPath) walk(node any, path, labels []string, at backendList) []backendList {
	if len(path) == 0 {
		switch n := node.(type) {
		case []any:
			at.entries = n
		case map[string]any:
			at.entries = []any{n}
		}
		if at.label == "" {
			at.label = p.label
		}
		return []backendList{at}
	}
	if path[0] == "*" {
		var found []backendList
		list, _ := node.([]any)
		for i, n := range list {
			found = append(found, p.walk(n, path[1:], labels[1:], backendList{
				label: strings.TrimSpace(fmt.Sprintf("%s %s %d", at.label, labels[0], i+1)), path: fmt.Sprintf("%s/%d", at.path, i),
			})...)
		}
		return found
	}
	fields, _ := node.(map[string]any)
	// An optional list that is absent does not count among the object's lists; a rule
	// without backends does.
	if _, ok := fields[path[0]]; !ok && (at.label == "" || p.optional) {
		return nil
	}
	return p.walk(fields[path[0]], path[1:], labels, backendList{label: at.label, path: at.path + "/" + path[0]})
}
