package ledger

import (
	"cmp"
	"context"
	"maps"
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
	synced map[string]bool
	// records are by the name of their ConfigMap.
	records map[rollback.Key]map[string]kept
	// news is closed, and replaced, at every change.
	news chan struct{}
}

// kept is one record as it is stored.
type kept struct {
	version string
	// text is what is stored, unless there was no room for it.
	text string
	fits bool
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
	text := cm.Data[recordKey]
	one := kept{version: cm.ResourceVersion, fits: m.size+len(text) <= memorySize}
	if one.fits {
		one.text = text
		m.size += len(text)
	}
	if m.records == nil {
		m.records = make(map[rollback.Key]map[string]kept)
	}
	if m.records[k] == nil {
		m.records[k] = make(map[string]kept)
	}
	m.records[k][cm.Name] = one
}

func (m *memory) remove(k rollback.Key, name string) {
	if was, ok := m.records[k][name]; ok {
		m.size -= len(was.text)
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

// of returns what is kept of a release, by the names of the ConfigMaps, and whether
// that is everything that was told of it.
func (m *memory) of(k rollback.Key) (map[string]kept, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, one := range m.records[k] {
		if !one.fits {
			return nil, false
		}
	}
	return maps.Clone(m.records[k]), m.synced[k.Namespace]
}

// reached waits until a record was told of as it was stored in that version, or
// later, and reports whether it was.
func (m *memory) reached(ctx context.Context, r rollback.Record) bool {
	for {
		m.mu.Lock()
		if m.news == nil {
			m.news = make(chan struct{})
		}
		news, told := m.news, m.records[r.Key][Name(r.Release, r.Revision)].version
		m.mu.Unlock()
		if order, err := resourceversion.CompareResourceVersion(told, r.Version); err == nil && order >= 0 {
			return true
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
	all, known := l.memory.of(k)
	if !known {
		return nil, false
	}
	records := make([]rollback.Record, 0, len(all))
	for name, one := range all {
		cm := &corev1.ConfigMap{Data: map[string]string{recordKey: one.text}}
		cm.Namespace, cm.Name, cm.ResourceVersion = k.Namespace, name, one.version
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
