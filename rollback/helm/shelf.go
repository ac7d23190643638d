package helm

import (
	"container/list"
	"encoding/json"
	"sync"

	"github.com/upcommerce/backout/rollback"
)

// shelfSize bounds what a shelf holds, in bytes: several manifests of the largest
// releases, a thousand of the usual ones.
const shelfSize = 16 << 20

// shelfLargest is the longest text that is kept, in bytes. One longer would push
// out those of many other releases.
const shelfLargest = 1 << 20

// shelf keeps the manifests that were asked for last, over all releases, as JSON:
// decoded, they take some ten times the memory. It is safe for concurrent use;
// its zero value is empty.
type shelf struct {
	mu    sync.Mutex
	size  int
	order list.List // of volumes, the one asked for last first
	byKey map[string]*list.Element
}

type volume struct {
	key  string
	text []byte
}

// get returns a manifest that is the caller's to change.
func (s *shelf) get(key string) (rollback.Manifest, bool) {
	s.mu.Lock()
	e, ok := s.byKey[key]
	if !ok {
		s.mu.Unlock()
		return nil, false
	}
	s.order.MoveToFront(e)
	text := e.Value.(volume).text // never changed
	s.mu.Unlock()
	var m rollback.Manifest
	if err := json.Unmarshal(text, &m); err != nil {
		return nil, false
	}
	return m, true
}

// add keeps the manifest, and lets go of those asked for longest ago if there is
// no room. One that is too long is not kept.
func (s *shelf) add(key string, m rollback.Manifest) {
	text, err := json.Marshal(m)
	if err != nil || len(text) > shelfLargest {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.byKey[key]; ok {
		return // a key is of one text
	}
	if s.byKey == nil {
		s.byKey = make(map[string]*list.Element)
	}
	s.byKey[key] = s.order.PushFront(volume{key, text})
	s.size += len(text)
	for s.size > shelfSize {
		last := s.order.Remove(s.order.Back()).(volume)
		delete(s.byKey, last.key)
		s.size -= len(last.text)
	}
}
