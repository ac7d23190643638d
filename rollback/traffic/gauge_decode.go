package traffic

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// outline is the part of an object on which a weight depends. It is a small part, and a
// namespace may have thousands of objects.
type outline struct {
	Metadata struct {
		Name        string            `json:"name"`
		Namespace   string            `json:"namespace"`
		Annotations map[string]string `json:"annotations"`
		Managed     []managedOutline  `json:"managedFields"`
	} `json:"metadata"`
	Spec map[string]any `json:"spec"`
}

// podOutline is the outline of an object that makes pods, without most of their spec.
type podOutline struct {
	outline
	Spec struct {
		Replicas *int64          `json:"replicas"`
		Template templateOutline `json:"template"`
	} `json:"spec"`
	Status struct {
		ReadyReplicas int64 `json:"readyReplicas"`
	} `json:"status"`
}

// changedAt is where the outline of an object that makes pods has the lastChange of its managed
// fields, in place of these.
const changedAt = "changedAt"

// decode reads a list. A list that ends too soon is an error.
func (k listedKind) decode(d *json.Decoder) ([]unstructured.Unstructured, error) {
	var all []unstructured.Unstructured
	if err := expect(d, json.Delim('{')); err != nil {
		return nil, err
	}
	for d.More() {
		field, err := d.Token()
		if err != nil {
			return nil, err
		}
		if field != "items" {
			var other json.RawMessage
			if err := d.Decode(&other); err != nil {
				return nil, err
			}
			continue
		}
		if start, err := d.Token(); err != nil || start == nil { // An empty list may be null.
			if err != nil {
				return nil, err
			}
			continue
		}
		for d.More() {
			o, err := k.next(d)
			if err != nil {
				return nil, err
			}
			all = append(all, o)
		}
		if err := expect(d, json.Delim(']')); err != nil {
			return nil, err
		}
	}
	return all, expect(d, json.Delim('}'))
}

// expect reads one token, which has to be the wanted one.
func expect(d *json.Decoder, want json.Delim) error {
	got, err := d.Token()
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	if err == nil && got != want {
		return fmt.Errorf("read a list: got %v, want %v", got, want)
	}
	return err
}

// next reads one object.
func (k listedKind) next(d *json.Decoder) (unstructured.Unstructured, error) {
	if !k.pods {
		var o outline
		err := d.Decode(&o)
		return k.object(o, o.Spec), err
	}
	var o podOutline
	if err := d.Decode(&o); err != nil {
		return unstructured.Unstructured{}, err
	}
	spec := map[string]any{"template": map[string]any{
		"metadata": map[string]any{"labels": decoded(o.Spec.Template.Metadata.Labels)},
		// A template with a spec makes the object a workload.
		"spec": map[string]any{"containers": []any{map[string]any{"image": o.Spec.Template.image()}}},
	}}
	if o.Spec.Replicas != nil {
		spec["replicas"] = *o.Spec.Replicas
	}
	made := k.object(o.outline, spec)
	made.Object["status"] = map[string]any{"readyReplicas": o.Status.ReadyReplicas}
	return made, nil
}

// object returns an outline as a live object, with its kind, which the API server leaves out
// of the objects of a list.
func (k listedKind) object(o outline, spec map[string]any) unstructured.Unstructured {
	delete(o.Metadata.Annotations, "kubectl.kubernetes.io/last-applied-configuration")
	metadata := map[string]any{"name": o.Metadata.Name, "namespace": o.Metadata.Namespace}
	if len(o.Metadata.Annotations) > 0 {
		metadata["annotations"] = decoded(o.Metadata.Annotations)
	}
	if changed := lastChange(o.Metadata.Managed); k.pods && !changed.IsZero() {
		metadata[changedAt] = changed.Format(time.RFC3339)
	}
	return unstructured.Unstructured{Object: map[string]any{
		"apiVersion": metav1.GroupVersion{Group: k.resource.Group, Version: k.resource.Version}.String(),
		"kind":       k.kind, "metadata": metadata, "spec": spec,
	}}
}

// decoded returns the map as the JSON decoder would.
func decoded(m map[string]string) map[string]any {
	all := make(map[string]any, len(m))
	for key, value := range m {
		all[key] = value
	}
	return all
}
