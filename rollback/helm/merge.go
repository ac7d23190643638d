package helm

import (
	"fmt"
	"maps"
	"slices"

	"helm.sh/helm/v3/pkg/kube"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/cli-runtime/pkg/resource"

	"github.com/upcommerce/backout/rollback"
)

// mergeMode says how far a merge changes an object towards what the target declares.
type mergeMode int

const (
	// mergeRepair changes only parts that Helm left otherwise by its own merge, because
	// another revision than the target declares them or because the entries of a list have
	// the same merge key.
	mergeRepair mergeMode = iota
	// mergeImpose changes everything that the target declares, and removes entries of keyed
	// lists that it does not declare.
	mergeImpose
)

// merge returns objects as the target declares them, with the defaults and the other fields
// of an outcome.
type merge struct {
	mode mergeMode
	// known says that the kind is one of Kubernetes' own, whose objects Helm patches with all
	// that the target declares.
	known bool
}

// listKinds says which lists of a kind have merge keys; nil has none.
type listKinds struct {
	lookup strategicpatch.LookupPatchMeta
}

// listKindsOf returns those of a kind of Kubernetes' own, and whether it is one.
func listKindsOf(info *resource.Info) (listKinds, bool) {
	known := kube.AsVersioned(info)
	if _, custom := known.(runtime.Unstructured); custom {
		return listKinds{}, false
	}
	lookup, err := strategicpatch.NewPatchMetaFromStruct(known)
	if err != nil {
		return listKinds{}, false
	}
	return listKinds{lookup}, true
}

// of returns the lists within a field, and the merge key if the field is a list with one.
func (l listKinds) of(field string, value any) (inner listKinds, key string) {
	if l.lookup == nil {
		return listKinds{}, ""
	}
	if _, list := value.([]any); list {
		lookup, meta, err := l.lookup.LookupPatchMetadataForSlice(field)
		if err != nil {
			return listKinds{}, ""
		}
		if !slices.Contains(meta.GetPatchStrategies(), "merge") {
			return listKinds{lookup}, ""
		}
		return listKinds{lookup}, meta.GetPatchMergeKey()
	}
	lookup, _, err := l.lookup.LookupPatchMetadataForStruct(field)
	if err != nil {
		return listKinds{}, ""
	}
	return listKinds{lookup}, ""
}

// top merges a whole object: its labels and annotations, and all fields but the status.
// bases are the same object as other revisions declare it.
func (m merge) top(l listKinds, target, outcome rollback.Object, bases []rollback.Object) rollback.Object {
	wanted, now := declaredPart(target), declaredPart(outcome)
	from := make([]any, 0, len(bases))
	for _, b := range bases {
		from = append(from, declaredPart(b))
	}
	merged := m.object(l, wanted, now, from)
	result := maps.Clone(outcome)
	for field := range now {
		delete(result, field)
	}
	maps.Copy(result, merged)
	metadata, _ := outcome["metadata"].(map[string]any)
	metadata = maps.Clone(metadata)
	inner, _ := merged["metadata"].(map[string]any)
	for _, part := range []string{"labels", "annotations"} {
		delete(metadata, part)
		if texts, _ := inner[part].(map[string]any); len(texts) > 0 {
			metadata[part] = texts
		}
	}
	result["metadata"] = metadata
	return result
}

// declaredPart returns the fields of an object that a manifest can declare.
func declaredPart(o rollback.Object) rollback.Object {
	part := make(rollback.Object, len(o))
	for field, value := range o {
		switch field {
		case "apiVersion", "kind", "status":
		case "metadata":
			all, _ := value.(map[string]any)
			labels, _ := all["labels"].(map[string]any)
			annotations, _ := all["annotations"].(map[string]any)
			part[field] = map[string]any{"labels": labels, "annotations": annotations}
		default:
			part[field] = value
		}
	}
	return part
}

// object merges an object that both sides have.
func (m merge) object(l listKinds, target, outcome map[string]any, bases []any) map[string]any {
	merged := maps.Clone(outcome)
	for field, wanted := range target {
		now, exists := outcome[field]
		from := fieldOf(bases, field)
		switch {
		case empty(wanted) && (!exists || now == nil || wanted == nil):
		case !exists || now == nil:
			if m.mode == mergeImpose || m.known || len(from) < len(bases) {
				merged[field] = runtime.DeepCopyJSONValue(wanted)
			}
		default:
			inner, key := l.of(field, wanted)
			merged[field] = m.value(inner, key, [2]any{wanted, now}, from)
		}
	}
	for field := range outcome {
		if _, declared := target[field]; !declared && len(fieldOf(bases, field)) > 0 {
			delete(merged, field)
		}
	}
	return merged
}

// value merges the target's value and that of the outcome.
func (m merge) value(l listKinds, key string, both [2]any, bases []any) any {
	switch wanted := both[0].(type) {
	case map[string]any:
		if now, ok := both[1].(map[string]any); ok {
			return m.object(l, wanted, now, bases)
		}
	case []any:
		if now, ok := both[1].([]any); ok && key != "" {
			return m.keyed(l, key, [2][]any{wanted, now}, bases)
		}
	}
	left := slices.ContainsFunc(bases, func(b any) bool { return covers(both[1], b) })
	if covers(both[1], both[0]) || m.mode == mergeRepair && !m.known && !left {
		return both[1]
	}
	return runtime.DeepCopyJSONValue(both[0])
}

// keyed merges lists whose entries have a merge key. Kubernetes merges entries with the same
// key as one, and loses or keeps the others: such a list becomes the target's.
func (m merge) keyed(l listKinds, key string, both [2][]any, bases []any) []any {
	wanted, now := byKey(both[0], key), byKey(both[1], key)
	declared := make(map[string]bool)
	for _, b := range bases {
		list, _ := b.([]any)
		for id := range byKey(list, key) {
			declared[id] = true
		}
	}
	unique := len(wanted) == len(both[0]) && len(now) == len(both[1])
	var others, kept []any
	for _, entry := range both[1] {
		id := keyOf(entry, key)
		_, ours := wanted[id]
		switch {
		case ours:
			kept = append(kept, entry)
		case m.mode == mergeRepair && !declared[id]:
			others = append(others, entry)
		}
	}
	var merged []any
	for i, entry := range both[0] {
		id := keyOf(entry, key)
		live, exists := now[id]
		switch {
		case unique && exists:
			merged = append(merged, m.value(l, "", [2]any{entry, live}, entriesOf(bases, key, id)))
		case !unique && len(kept) == len(both[0]) && covers(kept[i], entry):
			merged = append(merged, kept[i])
		default:
			merged = append(merged, runtime.DeepCopyJSONValue(entry))
		}
	}
	return inOrderOf(both[1], append(merged, others...), key)
}

// inOrderOf returns the entries in the order of the list, where that has the same ones.
func inOrderOf(list, entries []any, key string) []any {
	found := byKey(entries, key)
	if len(list) != len(entries) || len(found) != len(entries) {
		return entries
	}
	ordered := make([]any, 0, len(entries))
	for _, entry := range list {
		same, ok := found[keyOf(entry, key)]
		if !ok {
			return entries
		}
		ordered = append(ordered, same)
	}
	return ordered
}

// byKey returns the entries of a list by their merge key; the first of those that have the
// same.
func byKey(list []any, key string) map[string]any {
	found := make(map[string]any, len(list))
	for _, entry := range list {
		if id := keyOf(entry, key); found[id] == nil {
			found[id] = entry
		}
	}
	return found
}

// keyOf returns an entry's merge key; a list of texts has none, and each is its own key.
func keyOf(entry any, key string) string {
	o, ok := entry.(map[string]any)
	if !ok {
		return fmt.Sprint(entry)
	}
	if n, ok := number(o[key]); ok {
		return fmt.Sprint(n)
	}
	return fmt.Sprint(o[key])
}

// entriesOf returns the entries with that key of the lists that other revisions declare.
func entriesOf(bases []any, key, id string) []any {
	var found []any
	for _, b := range bases {
		list, _ := b.([]any)
		if entry, ok := byKey(list, key)[id]; ok {
			found = append(found, entry)
		}
	}
	return found
}

// fieldOf returns a field of the objects, without those that do not declare it.
func fieldOf(bases []any, field string) []any {
	var found []any
	for _, b := range bases {
		o, _ := b.(map[string]any)
		if value, ok := o[field]; ok && value != nil {
			found = append(found, value)
		}
	}
	return found
}
