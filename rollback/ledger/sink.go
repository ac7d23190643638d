package ledger

import (
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/upcommerce/backout/rollback"
)

// sink receives what a Reflector reads of one namespace. It passes ConfigMaps on and
// keeps them only in the cache, which is bounded.
type sink struct {
	namespace string
	cache     *recordCache
	// list is what the Reflector keeps until it has everything.
	list    firstList
	changed func(*corev1.ConfigMap)
	// tooMany is called when the namespace has more records than are followed.
	tooMany func()
	gone    func(k rollback.Key, revision int)
	// delivered is what was passed on last, by ConfigMap: a watch that begins again
	// delivers everything again.
	delivered map[string]delivery
}

// delivery is one record as it was passed on: its version, and which record it is.
type delivery struct {
	version  string
	key      rollback.Key
	revision int
}

var _ cache.TransformingStore = (*sink)(nil)

// Transformer begins a list, and returns what the Reflector does with each object as it
// arrives.
func (s *sink) Transformer() cache.TransformFunc {
	s.list.begin()
	return func(object any) (any, error) {
		if cm, ok := object.(*corev1.ConfigMap); ok {
			return cm, s.list.take(cm)
		}
		return object, nil
	}
}

// take shortens a page of a list that does not arrive object by object.
func (s *sink) take(list *corev1.ConfigMapList) {
	for i := range list.Items {
		if err := s.list.take(&list.Items[i]); err != nil {
			list.Items = list.Items[:i]
			return
		}
	}
}

// Add caches a record that was created or changed, and passes it on.
func (s *sink) Add(object any) error {
	cm, ok := object.(*corev1.ConfigMap)
	if !ok {
		return nil
	}
	shorten(cm)
	if _, known := s.delivered[fullName(cm)]; !known && len(s.delivered) >= maxFollowed {
		if s.cache.leaveOut(s.namespace) {
			s.tooMany()
		}
		return nil
	}
	s.cache.set(cm)
	s.deliver(cm)
	return nil
}

// deliver passes a record on, unless it was passed on in this version.
func (s *sink) deliver(cm *corev1.ConfigMap) {
	if name := fullName(cm); s.delivered[name].version != cm.ResourceVersion {
		s.delivered[name] = newDelivery(cm)
		s.changed(cm)
	}
}

// fullName is unique over all namespaces.
func fullName(cm *corev1.ConfigMap) string { return cm.Namespace + "/" + cm.Name }

// newDelivery identifies the record in a ConfigMap by its labels, so that the record
// itself need not be readable.
func newDelivery(cm *corev1.ConfigMap) delivery {
	revision, _ := strconv.Atoi(cm.Labels[revisionLabel])
	return delivery{version: cm.ResourceVersion, key: keyOf(cm), revision: revision}
}

// keyOf returns the release that a ConfigMap's record is about, by its labels.
func keyOf(cm *corev1.ConfigMap) rollback.Key {
	return rollback.Key{Namespace: cm.Namespace, Release: cm.Labels[releaseLabel]}
}

// Update does the same as Add.
func (s *sink) Update(object any) error { return s.Add(object) }

// Delete drops a record that was deleted.
func (s *sink) Delete(object any) error {
	if cm, ok := object.(*corev1.ConfigMap); ok {
		s.cache.delete(cm)
		s.forget(fullName(cm))
	}
	return nil
}

func (s *sink) forget(name string) {
	if last, ok := s.delivered[name]; ok {
		delete(s.delivered, name)
		s.gone(last.key, last.revision)
	}
}

// Replace takes everything that is stored in the namespace: at the start, and when a
// watch has missed changes.
func (s *sink) Replace(objects []any, _ string) error {
	present := make(map[string]bool, len(objects))
	var all []*corev1.ConfigMap
	for _, object := range objects {
		if cm, ok := object.(*corev1.ConfigMap); ok {
			present[fullName(cm)] = true
			all = append(all, cm)
		}
	}
	s.cache.replace(s.namespace, all)
	if !s.list.complete() && s.cache.leaveOut(s.namespace) {
		s.tooMany()
	}
	s.list.begin()
	for _, cm := range all {
		s.deliver(cm)
	}
	for name := range s.delivered {
		if !present[name] {
			s.forget(name)
		}
	}
	return nil
}

// Resync does nothing: every change is passed on when it arrives.
func (*sink) Resync() error { return nil }
