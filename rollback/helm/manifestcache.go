package helm

import (
	"container/list"
	"encoding/json"
	"sync"

	"github.com/upcommerce/backout/rollback"
)

// manifestCacheSize bounds a manifestCache, in bytes: several manifests of the largest
// releases, a thousand of ordinary ones.
const manifestCacheSize = 16 << 20

// maxCachedManifest is the longest text that is cached, in bytes. A longer one would
// evict those of many other releases.
const maxCachedManifest = 1 << 20

// manifestCache keeps the most recently used manifests, over all releases, as JSON:
// decoded, they take about ten times the memory. It is safe for concurrent use; its
// zero value is empty.
type manifestCache struct {
	mu    sync.Mutex
	size  int
	order list.List // of cachedManifest, the most recently used first
	byKey map[string]*list.Element
}

type cachedManifest struct {
	key  string
	text []byte
}

// get returns a manifest that the caller may change.
func (c *manifestCache) get(key string) (rollback.Manifest, bool) {
	c.mu.Lock()
	e, ok := c.byKey[key]
	if !ok {
		c.mu.Unlock()
		return nil, false
	}
	c.order.MoveToFront(e)
	text := e.Value.(cachedManifest).text // never changed
	c.mu.Unlock()
	var m rollback.Manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, false
	}
	return m, true
}

// add caches the manifest, and evicts the least recently used ones if there is no room.
// It does not cache one that is longer than maxCachedManifest.
func (c *manifestCache) add(key string, m rollback.Manifest) {
	text, err := json.Marshal(m)
	if err != nil || len(text) > maxCachedManifest {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.byKey[key]; ok {
		return // a key always has the same text
	}
	if c.byKey == nil {
		c.byKey = make(map[string]*list.Element)
	}
	c.byKey[key] = c.order.PushFront(cachedManifest{key, text})
	c.size += len(text)
	for c.size > manifestCacheSize {
		last := c.order.Remove(c.order.Back()).(cachedManifest)
		delete(c.byKey, last.key)
		c.size -= len(last.text)
	}
}
