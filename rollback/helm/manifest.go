package helm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/overload"
)

// Manifest returns the objects of a revision as Helm rendered them, without hooks; in
// the place of a List it has the objects of the List. The caller may change them.
func (c *Client) Manifest(ctx context.Context, k rollback.Key, revision int) (rollback.Manifest, error) {
	at, err := c.findStored(ctx, k, revision)
	if err != nil {
		return nil, overload.Of(fmt.Errorf("look up revision %d of %s: %w", revision, k, err))
	}
	if known, ok := c.manifests.get(at.cacheKey); ok {
		return known, nil
	}
	stored, err := read(ctx, c.store(at.storage, k.Namespace), objectName(k.Release, revision), c.decoding)
	if err != nil {
		return nil, overload.Of(fmt.Errorf("read revision %d of %s: %w", revision, k, err))
	}
	end, err := c.decoding.begin(ctx, manifestWeight*int64(len(stored.Manifest)))
	if err != nil {
		return nil, fmt.Errorf("decode the manifest of %s revision %d: %w", k, revision, err)
	}
	defer end()
	m, err := decodeManifest(stored.Manifest)
	if err != nil {
		return nil, fmt.Errorf("decode the manifest of %s revision %d: %w", k, revision, err)
	}
	c.manifests.add(at.cacheKey, m)
	return m, nil
}

// decodeManifest decodes a manifest, a stream of YAML documents. It stops at the first
// document that is not an object. It does not check the bounds: read does.
func decodeManifest(manifest string) (all rollback.Manifest, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("%w: %v", errCorrupt, cause)
		}
	}()
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(manifest), 4096)
	for {
		var o rollback.Object
		err := decoder.Decode(&o)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		if len(o) > 0 {
			all = append(all, flatten(o)...)
		}
	}
}

// flatten returns the objects of a List, at any depth, or the object itself. As for
// kubectl and Helm, an object with items is a List.
func flatten(o rollback.Object) rollback.Manifest {
	items, ok := o["items"].([]any)
	if !ok {
		return rollback.Manifest{o}
	}
	var all rollback.Manifest
	for _, item := range items {
		object, ok := item.(map[string]any)
		if !ok {
			continue
		}
		if kind, typed := o["kind"].(string); typed && kind != "List" && object["kind"] == nil {
			object["kind"], object["apiVersion"] = strings.TrimSuffix(kind, "List"), o["apiVersion"]
		}
		all = append(all, flatten(object)...)
	}
	return all
}
