package traffic

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/upcommerce/backout/rollback"
)

// annotated is a router whose lists of weighted backends are JSON in annotations. It shows them
// to weighted as fields of an object, and writes an annotation as a whole.
type annotated struct {
	// weighted has no lists: each object has its own.
	weighted
	// decode returns the values of the object's annotations by keys without a dot. The error
	// names an annotation that the router cannot read either; the others count.
	decode func(object *unstructured.Unstructured) (map[string]any, error)
	// annotation returns the one that has the value of a key, and list is where the backends are
	// below it.
	annotation func(key string) string
	list       func(key string) listPath
	// encode returns the value that the annotation has as JSON.
	encode func(value any) any
	// note says what a weight of zero among the values does not show; "" for nothing.
	note func(object *unstructured.Unstructured, values map[string]any, c canary) string
}

// view returns the object with the values of its annotations in place of its spec, and without a
// generation, which no write of an annotation changes; nil for nil.
func (a annotated) view(object *unstructured.Unstructured) *unstructured.Unstructured {
	if object == nil {
		return nil
	}
	values, _ := a.decode(object)
	v := &unstructured.Unstructured{Object: maps.Clone(object.Object)}
	v.Object["spec"] = values
	metadata, _ := object.Object["metadata"].(map[string]any)
	metadata = maps.Clone(metadata)
	delete(metadata, "generation")
	v.Object["metadata"] = metadata
	return v
}

// valuesOf returns the values that a view shows.
func valuesOf(view *unstructured.Unstructured) map[string]any {
	if view == nil {
		return nil
	}
	values, _ := view.Object["spec"].(map[string]any)
	return values
}

// of returns the router with the lists of these views.
func (a annotated) of(views ...*unstructured.Unstructured) weighted {
	keys := make(map[string]any)
	for _, v := range views {
		maps.Copy(keys, valuesOf(v))
	}
	w := a.weighted
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		w.lists = append(w.lists, a.list(key))
	}
	return w
}

// leads returns an error for an annotation that cannot be read and mentions the canary.
func (a annotated) leads(object *unstructured.Unstructured, c canary) (bool, error) {
	if _, err := a.decode(object); err != nil {
		for _, text := range object.GetAnnotations() {
			for name := range c.services {
				if strings.Contains(text, name) {
					return false, err
				}
			}
		}
	}
	v := a.view(object)
	return a.of(v).leads(v, c)
}

func (a annotated) observe(live *unstructured.Unstructured, c canary, neighbours []unstructured.Unstructured) ([]rollback.Weight, []load) {
	v := a.view(live)
	weights, loads := a.of(v).observe(v, c, neighbours)
	return a.noted(live, v, c, weights), loads
}

func (a annotated) shares(live *unstructured.Unstructured, c canary, neighbours []unstructured.Unstructured) []share {
	v := a.view(live)
	return a.of(v).shares(v, c, neighbours)
}

func (a annotated) shed(live *unstructured.Unstructured, c canary) (edit, error) {
	v := a.view(live)
	e, err := a.of(v).shed(v, c)
	if err != nil {
		return edit{}, err
	}
	if e, err = a.written(live, v, nil, e); err != nil {
		return edit{}, err
	}
	e.weights = a.noted(live, v, c, e.weights)
	return e, nil
}

// noted adds the note on a view to the name of the first weight of zero.
func (a annotated) noted(object, view *unstructured.Unstructured, c canary, weights []rollback.Weight) []rollback.Weight {
	i := slices.IndexFunc(weights, func(w rollback.Weight) bool { return w.To == zero })
	if i < 0 {
		return weights
	}
	if note := a.note(object, valuesOf(view), c); note != "" {
		weights[i].Name += " (" + note + ")"
	}
	return weights
}

// restore writes the text of the declared annotation, if that has the wanted weights.
func (a annotated) restore(live, declared *unstructured.Unstructured, c canary) (edit, error) {
	v, wanted := a.view(live), a.view(declared)
	e, err := a.of(v, wanted).restore(v, wanted, c)
	if err != nil {
		return edit{}, err
	}
	return a.written(live, v, declared, e)
}

func (a annotated) unmark(live *unstructured.Unstructured, c canary) ([]operation, error) {
	v := a.view(live)
	return a.of(v).unmark(v, c)
}

// hold changes the annotations in place.
func (a annotated) hold(object, live *unstructured.Unstructured, c canary) {
	v, now := a.view(object), a.view(live)
	a.of(v, now).hold(v, now, c)
	declared, annotations := valuesOf(a.view(object)), object.GetAnnotations()
	for key, value := range valuesOf(v) {
		if text, err := json.Marshal(a.encode(value)); err == nil && !reflect.DeepEqual(value, declared[key]) {
			annotations[a.annotation(key)] = string(text)
			object.SetAnnotations(annotations)
		}
	}
}

// written returns the edit of a view as one of the live object: each annotation with a weight
// that changes is replaced, provided that it is as it was read. The view gets the new weights.
func (a annotated) written(live, view, declared *unstructured.Unstructured, e edit) (edit, error) {
	changed := make(map[string]bool)
	var others []operation
	for _, o := range e.operations {
		if strings.HasPrefix(o.Path, "/metadata/") {
			others = append(others, o)
			continue
		}
		i := strings.LastIndex(o.Path, "/")
		entry, _ := valueAt(view.Object, o.Path[:i])
		if fields, ok := entry.(map[string]any); ok && o.Op == "add" {
			fields[o.Path[i+1:]] = o.Value
			changed[strings.Split(o.Path, "/")[2]] = true // below /spec
		}
	}
	e.operations = nil
	wanted := valuesOf(a.view(declared))
	for _, key := range slices.Sorted(maps.Keys(changed)) {
		name, value := a.annotation(key), valuesOf(view)[key]
		text, err := json.Marshal(a.encode(value))
		if err != nil {
			return edit{}, fmt.Errorf("write the annotation %s: %w", name, err)
		}
		if declared != nil && reflect.DeepEqual(value, wanted[key]) {
			text = []byte(declared.GetAnnotations()[name])
		}
		e.operations = append(e.operations,
			operation{Op: "test", Path: annotationPath(name), Value: live.GetAnnotations()[name]},
			operation{Op: "add", Path: annotationPath(name), Value: string(text)})
	}
	e.operations = append(e.operations, others...)
	return e, nil
}
