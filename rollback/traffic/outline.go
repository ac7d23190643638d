package traffic

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// outline is what an object is read into: nothing but what a weight depends on. Most
// of what an API server sends is none of that, and a namespace may have thousands of
// objects.
type outline struct {
	Metadata struct {
		Name        string            `json:"name"`
		Namespace   string            `json:"namespace"`
		Annotations map[string]string `json:"annotations"`
	} `json:"metadata"`
	Spec map[string]any `json:"spec"`
}

// podOutline is the outline of an object that makes pods, without what they are.
type podOutline struct {
	outline
	Spec struct {
		Replicas *int64 `json:"replicas"`
		Template struct {
			Metadata struct {
				Labels map[string]string `json:"labels"`
			} `json:"metadata"`
		} `json:"template"`
	} `json:"spec"`
	Status struct {
		ReadyReplicas int64 `json:"readyReplicas"`
	} `json:"status"`
}

// list returns the outlines of the namespace's objects of one kind. It reads them one
// after the other, and never has the whole list in memory. Version 0 means whatever
// the API server has in its own memory: it need not ask etcd. That may be some
// moments old.
func (g *Gauge) list(ctx context.Context, namespace string, k lookedAt) ([]unstructured.Unstructured, error) {
	path := []string{"apis", k.resource.Group, k.resource.Version}
	if k.resource.Group == "" {
		path = []string{"api", k.resource.Version}
	}
	body, err := g.server.Get().AbsPath(append(path, "namespaces", namespace, k.resource.Resource)...).
		Param("resourceVersion", "0").SetHeader("Accept", "application/json").Stream(ctx)
	if err != nil {
		return nil, err
	}
	items, err := k.decode(json.NewDecoder(body))
	return items, errors.Join(err, body.Close())
}

// decode reads a list. One that ends too soon is an error.
func (k lookedAt) decode(d *json.Decoder) ([]unstructured.Unstructured, error) {
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
		if start, err := d.Token(); err != nil || start == nil { // an empty list may be null
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

// expect reads one token, which has to be that one.
func expect(d *json.Decoder, want json.Delim) error {
	got, err := d.Token()
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	if err == nil && got != want {
		return fmt.Errorf("read a list: got %v where %v belongs", got, want)
	}
	return err
}

// next reads one object.
func (k lookedAt) next(d *json.Decoder) (unstructured.Unstructured, error) {
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
		"metadata": map[string]any{"labels": texts(o.Spec.Template.Metadata.Labels)},
		// That there is one tells a workload from other objects.
		"spec": map[string]any{},
	}}
	if o.Spec.Replicas != nil {
		spec["replicas"] = *o.Spec.Replicas
	}
	made := k.object(o.outline, spec)
	made.Object["status"] = map[string]any{"readyReplicas": o.Status.ReadyReplicas}
	return made, nil
}

// object returns an outline as any other live object. The API server leaves out of a
// list's objects what kind they are.
func (k lookedAt) object(o outline, spec map[string]any) unstructured.Unstructured {
	delete(o.Metadata.Annotations, "kubectl.kubernetes.io/last-applied-configuration")
	metadata := map[string]any{"name": o.Metadata.Name, "namespace": o.Metadata.Namespace}
	if len(o.Metadata.Annotations) > 0 {
		metadata["annotations"] = texts(o.Metadata.Annotations)
	}
	return unstructured.Unstructured{Object: map[string]any{
		"apiVersion": metav1.GroupVersion{Group: k.resource.Group, Version: k.resource.Version}.String(),
		"kind":       k.kind, "metadata": metadata, "spec": spec,
	}}
}

// texts returns the map as decoded JSON has it.
func texts(m map[string]string) map[string]any {
	all := make(map[string]any, len(m))
	for key, value := range m {
		all[key] = value
	}
	return all
}
