package ledger

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/upcommerce/backout/rollback"
)

// memorySize bounds the text of the records that are kept at hand, in bytes: some
// thousands of records.
const memorySize = 8 << 20

// sinceLimit is how long Since waits for the watch that Follow keeps; some
// milliseconds is what it takes.
const sinceLimit = 100 * time.Millisecond

// memory keeps the stored form of the records that Follow is told of. It is safe for
// concurrent use; its zero value knows nothing.
type memory struct {
	mu sync.Mutex
	// size is that of all texts, in bytes.
	size int
	// synced are the namespaces of which everything was told.
	synced  map[string]bool
	records map[rollback.Key]map[string]*corev1.ConfigMap
	// news is closed, and replaced, at every change.
	news chan struct{}
}

// keep takes what a watch has brought, in the order in which it was stored.
func (m *memory) keep(cm *corev1.ConfigMap) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.put(cm)
	m.tell()
}

// drop takes that a record was deleted.
func (m *memory) drop(cm *corev1.ConfigMap) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.remove(about(cm).key, cm.Name)
	m.tell()
}

// replace takes everything that is stored in a namespace at one time.
func (m *memory) replace(namespace string, all []*corev1.ConfigMap) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for k, records := range m.records {
		if k.Namespace == namespace {
			for name := range records {
				m.remove(k, name)
			}
		}
	}
	for _, cm := range all {
		m.put(cm)
	}
	if m.synced == nil {
		m.synced = make(map[string]bool)
	}
	m.synced[namespace] = true
	m.tell()
}

func (m *memory) put(cm *corev1.ConfigMap) {
	k := about(cm).key
	m.remove(k, cm.Name)
	kept := &corev1.ConfigMap{}
	kept.Namespace, kept.Name, kept.ResourceVersion = cm.Namespace, cm.Name, cm.ResourceVersion
	if text := cm.Data[recordKey]; m.size+len(text) <= memorySize {
		kept.Data = map[string]string{recordKey: text}
		m.size += len(text)
	}
	if m.records == nil {
		m.records = make(map[rollback.Key]map[string]*corev1.ConfigMap)
	}
	if m.records[k] == nil {
		m.records[k] = make(map[string]*corev1.ConfigMap)
	}
	m.records[k][cm.Name] = kept
}

func (m *memory) remove(k rollback.Key, name string) {
	if was, ok := m.records[k][name]; ok {
		m.size -= len(was.Data[recordKey])
		delete(m.records[k], name)
	}
	if len(m.records[k]) == 0 {
		delete(m.records, k)
	}
}

func (m *memory) tell() {
	if m.news != nil {
		close(m.news)
		m.news = nil
	}
}

// of returns what is kept of a release, and whether that is everything that was told
// of it. What is returned is never changed.
func (m *memory) of(k rollback.Key) ([]*corev1.ConfigMap, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]*corev1.ConfigMap, 0, len(m.records[k]))
	for _, cm := range m.records[k] {
		if cm.Data == nil {
			return nil, false
		}
		all = append(all, cm)
	}
	return all, m.synced[k.Namespace]
}

// reached waits until a record was told of as it was stored in that version, or
// later, and reports whether it was.
func (m *memory) reached(ctx context.Context, r rollback.Record) bool {
	for {
		m.mu.Lock()
		if m.news == nil {
			m.news = make(chan struct{})
		}
		news, cm := m.news, m.records[r.Key][Name(r.Release, r.Revision)]
		m.mu.Unlock()
		if cm != nil {
			if order, err := resourceversion.CompareResourceVersion(cm.ResourceVersion, r.Version); err == nil && order >= 0 {
				return true
			}
		}
		select {
		case <-news:
		case <-ctx.Done():
			return false
		}
	}
}

// RecordsAtHand returns the records of a release as Follow was last told of them,
// oldest revision first, and whether all of them are known. It asks nobody: while
// Follow does not run, or cannot watch, what it returns is as old as that.
func (l *Ledger) RecordsAtHand(k rollback.Key) ([]rollback.Record, bool) {
	kept, all := l.memory.of(k)
	if !all {
		return nil, false
	}
	records := make([]rollback.Record, 0, len(kept))
	for _, cm := range kept {
		r, err := decode(cm)
		if err != nil {
			return nil, false // whoever reads it tells of it
		}
		records = append(records, r)
	}
	slices.SortFunc(records, func(a, b rollback.Record) int { return cmp.Compare(a.Revision, b.Revision) })
	return records, true
}

// Since returns all records of a release, oldest revision first, as they are stored
// now or were at some time after r was, which Save has returned. A watch tells of
// everything in the order in which it is stored: once it has told of r, it has told of
// all that was stored before. Where it does not tell in time, the store is read.
func (l *Ledger) Since(ctx context.Context, r rollback.Record) ([]rollback.Record, error) {
	limited, cancel := context.WithTimeout(ctx, sinceLimit)
	defer cancel()
	if l.memory.reached(limited, r) {
		if records, all := l.RecordsAtHand(r.Key); all {
			return records, nil
		}
	}
	return l.Records(ctx, r.Key)
}
