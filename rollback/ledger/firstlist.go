package ledger

import (
	"errors"
	"sync"

	corev1 "k8s.io/api/core/v1"
)

// Bounds of what Follow keeps until it has everything that is stored in a namespace. Records
// beyond them are read one by one afterwards.
const (
	// maxFirstList bounds the texts of one namespace, maxFirstLists those of all namespaces
	// that are read at a time, in bytes.
	maxFirstList  = 8 << 20
	maxFirstLists = 24 << 20
	// maxFollowed bounds the records of one namespace that are followed. Those of a namespace
	// with more are read from the API server when they are needed.
	maxFollowed = 20_000
)

var errTooMany = errors.New("there are too many records")

// firstLists is how much text the lists in progress keep, in bytes. It is safe for concurrent
// use; its zero value is empty.
type firstLists struct {
	mu   sync.Mutex
	size int
}

// firstList is one of them. It is safe for concurrent use.
type firstList struct {
	all *firstLists

	mu             sync.Mutex
	size, received int
}

// begin drops what an earlier attempt has kept.
func (l *firstList) begin() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all.add(-l.size)
	l.size, l.received = 0, 0
}

// complete reports whether the list has every record that was received.
func (l *firstList) complete() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.received <= maxFollowed
}

// take shortens a ConfigMap of the list, in place of whose text it leaves a mark if there is
// no room. It returns errTooMany if there is not even room for that.
func (l *firstList) take(cm *corev1.ConfigMap) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.received++; l.received > maxFollowed {
		return errTooMany
	}
	shorten(cm)
	text := cm.Data[recordKey]
	if l.size+len(text) > maxFirstList || !l.all.add(len(text)) {
		cm.Data[recordKey] = leftOutMark
		return nil
	}
	l.size += len(text)
	return nil
}

// add adds to the size, unless there is no room.
func (l *firstLists) add(n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n > 0 && l.size+n > maxFirstLists {
		return false
	}
	l.size += n
	return true
}
