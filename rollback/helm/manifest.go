package helm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/upcommerce/backout/rollback"
)

// sightLimit is how long what a listing said about a revision's Secret is taken
// for what it is. What a revision declares never changes, but for an uninstall
// and install that ends up at the same number within this time.
const sightLimit = 2 * time.Second

// sighting is which Secret was seen to hold a revision, and when.
type sighting struct {
	cacheKey string
	at       time.Time
}

// Manifest returns the objects of a revision as Helm rendered them, hooks not
// among them; the objects of a List stand for themselves. They are the caller's
// to change.
func (c *Client) Manifest(ctx context.Context, k rollback.Key, revision int) (rollback.Manifest, error) {
	cacheKey, err := c.cacheKey(ctx, k, revision)
	if err != nil {
		return nil, fmt.Errorf("look at revision %d of %s: %w", revision, k, err)
	}
	if known, ok := c.manifests.get(cacheKey); ok {
		return known, nil
	}
	stored, err := read(c.store(k.Namespace), secretName(k.Release, revision))
	if err != nil {
		return nil, fmt.Errorf("read revision %d of %s: %w", revision, k, err)
	}
	m, err := objects(stored.Manifest)
	if err != nil {
		return nil, fmt.Errorf("decode the manifest of %s revision %d: %w", k, revision, err)
	}
	c.manifests.add(cacheKey, m)
	return m, nil
}

// cacheKey returns under what a revision is cached, as it was just seen, or from
// the metadata of its Secret.
func (c *Client) cacheKey(ctx context.Context, k rollback.Key, revision int) (string, error) {
	if s, ok := c.seen.Get(sightKey(k, revision)); ok && time.Since(s.(sighting).at) < sightLimit {
		return s.(sighting).cacheKey, nil
	}
	secret, err := c.metadata.Resource(corev1.SchemeGroupVersion.WithResource("secrets")).Namespace(k.Namespace).
		Get(ctx, secretName(k.Release, revision), metav1.GetOptions{})
	if err != nil {
		return "", err
	}
	h := head{uid: string(secret.UID), version: secret.ResourceVersion}
	return h.cacheKey(), nil
}

func sightKey(k rollback.Key, revision int) string { return k.String() + "@" + strconv.Itoa(revision) }

// objects decodes a manifest, a stream of YAML documents. It stops at the first
// document that is not an object.
func objects(manifest string) (rollback.Manifest, error) {
	decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(manifest), 4096)
	var all rollback.Manifest
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
			all = append(all, flat(o)...)
		}
	}
}

// flat returns the objects that o stands for: those of a List, at any depth,
// else o itself. What has items is a list, as kubectl and Helm see it.
func flat(o rollback.Object) rollback.Manifest {
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
		all = append(all, flat(object)...)
	}
	return all
}
