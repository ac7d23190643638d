package ledger

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/upcommerce/backout/rollback"
)

// cacheSize bounds the text of the cached records, in bytes: some thousands of records.
const cacheSize = 8 << 20

// recordsSinceLimit is how long RecordsSince waits for the watch, which usually takes
// some milliseconds.
const recordsSinceLimit = 100 * time.Millisecond

// recordCache contains the stored form of the records that Follow's watches have
// delivered. It is safe for concurrent use; its zero value is empty.
type recordCache struct {
	mu sync.Mutex
	// size is that of all texts, in bytes.
	size int
	// used is how much of it each namespace has.
	used map[string]int
	// synced are the namespaces of which everything was delivered.
	synced map[string]bool
	// records are by release, and by the name of their ConfigMap.
	records map[rollback.Key]map[string]cachedRecord
	// changed is closed, and replaced, at every change.
	changed chan struct{}
}

// cachedRecord is one record as it is stored.
type cachedRecord struct {
	version string
	// text is the stored one, "" if it is too long or there was no room for it.
	text string
	fits bool
	// size is that of the stored text, in bytes.
	size int
}

// set takes a record that was created or changed, in the order in which it was stored.
func (c *recordCache) set(cm *corev1.ConfigMap) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(cm)
	c.wake()
}

// delete drops a record that was deleted.
func (c *recordCache) delete(cm *corev1.ConfigMap) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(keyOf(cm), cm.Name)
	c.wake()
}

// replace takes everything that is stored in a namespace at one time.
func (c *recordCache) replace(namespace string, all []*corev1.ConfigMap) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for k, records := range c.records {
		if k.Namespace == namespace {
			for name := range records {
				c.remove(k, name)
			}
		}
	}
	for _, cm := range all {
		c.add(cm)
	}
	if c.synced == nil {
		c.synced = make(map[string]bool)
	}
	c.synced[namespace] = true
	c.wake()
}

func (c *recordCache) add(cm *corev1.ConfigMap) {
	k := keyOf(cm)
	c.remove(k, cm.Name)
	text := cm.Data[recordKey]
	r := cachedRecord{version: cm.ResourceVersion, size: len(text)}
	if isMark(text) || len(text) > maxRecord {
		r.size = maxRecord
	} else if c.makeRoom(k.Namespace, len(text)) {
		r.text, r.fits = text, true
		c.size += len(text)
		c.use(k.Namespace, len(text))
	}
	if c.records == nil {
		c.records = make(map[rollback.Key]map[string]cachedRecord)
	}
	if c.records[k] == nil {
		c.records[k] = make(map[string]cachedRecord)
	}
	c.records[k][cm.Name] = r
}

// textSize returns the size of a release's texts, in bytes, and whether all are known.
func (c *recordCache) textSize(k rollback.Key) (size int, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.records[k] {
		size += max(r.size, leastListed)
	}
	return size, c.synced[k.Namespace]
}

func (c *recordCache) remove(k rollback.Key, name string) {
	if r, ok := c.records[k][name]; ok {
		c.size -= len(r.text)
		c.use(k.Namespace, -len(r.text))
		delete(c.records[k], name)
	}
	if len(c.records[k]) == 0 {
		delete(c.records, k)
	}
}

// leaveOut notes that not all records of a namespace are delivered. It reports whether that
// is new.
func (c *recordCache) leaveOut(namespace string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.synced[namespace]
	delete(c.synced, namespace)
	return was
}

// wake wakes every waitFor.
func (c *recordCache) wake() {
	if c.changed != nil {
		close(c.changed)
		c.changed = nil
	}
}

// get returns the release's records by the names of their ConfigMaps, and whether those
// are all that the watches have delivered.
func (c *recordCache) get(k rollback.Key) (map[string]cachedRecord, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.records[k] {
		if !r.fits {
			return nil, false
		}
	}
	return maps.Clone(c.records[k]), c.synced[k.Namespace]
}

// waitFor waits until the watch has delivered a record in r's version or a later one, and
// reports whether it has before ctx ends.
func (c *recordCache) waitFor(ctx context.Context, r rollback.Record) bool {
	for {
		c.mu.Lock()
		if c.changed == nil {
			c.changed = make(chan struct{})
		}
		changed, version := c.changed, c.records[r.Key][r.Name()].version
		c.mu.Unlock()
		if order, err := resourceversion.CompareResourceVersion(version, r.Version); err == nil && order >= 0 {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

// cachedRecords returns the records of a release that Follow's watch has delivered, oldest
// revision first; rollback.ErrNotCached if not all of them are known. While Follow does
// not run, or cannot watch, they are outdated.
func (l *Ledger) cachedRecords(ctx context.Context, k rollback.Key) ([]rollback.Record, error) {
	all, complete := l.cache.get(k)
	size, _ := l.cache.textSize(k)
	if !complete || !l.decoding.TryAcquire(listWeight(size)) {
		return nil, fmt.Errorf("records of %s: %w", k, rollback.ErrNotCached)
	}
	defer l.decoding.Release(listWeight(size))
	records := make([]rollback.Record, 0, len(all))
	for name, cached := range all {
		cm := &corev1.ConfigMap{Data: map[string]string{recordKey: cached.text}}
		cm.Namespace, cm.Name, cm.ResourceVersion = k.Namespace, name, cached.version
		r, _, err := l.decode(ctx, cm)
		if err != nil {
			return nil, errors.Join(rollback.ErrNotCached, err) // a Stored read reports it
		}
		if r.Key == k {
			records = append(records, r)
		}
	}
	slices.SortFunc(records, byRevision)
	return records, nil
}

// RecordsSince returns all records of a release, oldest revision first, as they are
// stored now or were at some time after Save has returned r. A watch delivers everything
// in the order in which it was stored: once it has delivered r, it has delivered all that
// was stored before. If it does not in time, RecordsSince reads the store.
func (l *Ledger) RecordsSince(ctx context.Context, r rollback.Record) ([]rollback.Record, error) {
	limited, cancel := context.WithTimeout(ctx, recordsSinceLimit)
	defer cancel()
	if l.cache.waitFor(limited, r) {
		if records, err := l.cachedRecords(ctx, r.Key); err == nil {
			return records, nil
		}
	}
	return l.Records(ctx, r.Key, rollback.Stored)
}
