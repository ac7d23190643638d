package traffic

import (
	"encoding/json"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/upcommerce/backout/rollback"
)

// mention is a routing object that contains a word.
type mention struct {
	resource schema.GroupResource
	index    int
}

// mentions returns the routing objects by the words that they contain. Without them, the
// Gauge would look for every release's canary in every release's routes.
func (s snapshot) mentions() map[string][]mention {
	found := make(map[string][]mention)
	for _, k := range s.kinds {
		if !k.routes {
			continue
		}
		resource := k.resource.GroupResource()
		for i, o := range s.objects[resource] {
			for word := range wordsOf(o.Object) {
				found[word] = append(found[word], mention{resource: resource, index: i})
			}
		}
	}
	return found
}

// about returns the snapshot with only those routing objects that may concern the release:
// those that contain one of its words. The names that make a subset the canary's are always
// among them, because such a subset counts without a DestinationRule.
func (s snapshot) about(m rollback.Manifest, t rollback.Track, mentions map[string][]mention) snapshot {
	words := sets.New(t.Names()...)
	for _, object := range m {
		o := &unstructured.Unstructured{Object: object}
		words.Insert(o.GetName())
		if o.GetKind() == destinationRule {
			addWords(words, object["spec"])
		}
	}
	for _, route := range namedRoutes(m) {
		_, name, _ := strings.Cut(route, "/")
		words.Insert(name)
	}
	seen := sets.New[mention]()
	part := snapshot{kinds: s.kinds, objects: make(map[schema.GroupResource][]unstructured.Unstructured)}
	for _, word := range sets.List(words) {
		for _, o := range mentions[word] {
			if !seen.Has(o) {
				seen.Insert(o)
				part.objects[o.resource] = append(part.objects[o.resource], s.objects[o.resource][o.index])
			}
		}
	}
	for _, k := range s.kinds {
		if k.pods || k.kind == "Service" {
			part.objects[k.resource.GroupResource()] = s.objects[k.resource.GroupResource()]
		}
	}
	return part
}

// wordsOf returns an object's name, and every word of its spec and of annotations that are JSON.
func wordsOf(object rollback.Object) sets.Set[string] {
	o := &unstructured.Unstructured{Object: object}
	words := sets.New(o.GetName())
	addWords(words, object["spec"])
	for _, text := range o.GetAnnotations() {
		var value map[string]any // the backends of some routers
		if strings.HasPrefix(text, "{") && json.Unmarshal([]byte(text), &value) == nil {
			addWords(words, value)
		}
	}
	return words
}

// addWords adds the texts below a node, and for a text with dots the part before the first
// one, which is the Service of a host.
func addWords(words sets.Set[string], node any) {
	switch n := node.(type) {
	case map[string]any:
		for _, value := range n {
			addWords(words, value)
		}
	case []any:
		for _, value := range n {
			addWords(words, value)
		}
	case string:
		words.Insert(n)
		if host, _, ok := strings.Cut(n, "."); ok {
			words.Insert(host)
		}
	}
}
