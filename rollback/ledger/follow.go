package ledger

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/upcommerce/backout/rollback"
)

// Backoff between attempts to watch. The longest wait is short: once the API server is
// back, changes have to arrive soon.
const (
	watchRetry      = 200 * time.Millisecond
	watchRetryMax   = 5 * time.Second
	watchRetryReset = 10 * time.Minute
)

// Follow calls changed for every record of the ledger's namespaces at the start, and
// then for each that any process writes, milliseconds later. After several quick changes
// to one record it may call changed for the last one only. It calls Options.Gone for
// deleted records. It calls both from one goroutine for each namespace, so that several
// calls may run at once; a slow call delays its own namespace.
//
// A record that cannot be decoded within the bounds is logged, counted and left out. A namespace that cannot be
// watched is logged and retried every few seconds, and does not delay the others. Follow
// returns nil when ctx ends.
func (l *Ledger) Follow(ctx context.Context, changed func(rollback.Record)) error {
	// client-go logs the same errors itself.
	ctx = klog.NewContext(ctx, klog.New(nil))
	var all sync.WaitGroup
	for _, namespace := range l.namespaces {
		all.Go(func() { l.follow(ctx, namespace, changed) })
	}
	all.Wait()
	return nil
}

func (l *Ledger) follow(ctx context.Context, namespace string, changed func(rollback.Record)) {
	maps := l.client.CoreV1().ConfigMaps(namespace)
	log := l.log.With("namespace", namespace)
	var last failure
	source := cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.LabelSelector = recordSelector
			list, err := maps.List(ctx, o)
			if err != nil && ctx.Err() == nil && last.isNew(err) {
				log.WarnContext(ctx, "records cannot be followed; trying again", "error", err)
			}
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.LabelSelector = recordSelector
			events, err := maps.Watch(ctx, o)
			if ctx.Err() == nil && last.isNew(err) {
				log.WarnContext(ctx, "records cannot be followed; trying again", "error", err)
			}
			return events, err
		},
	}, l.client)
	sink := &sink{namespace: namespace, cache: &l.cache, delivered: make(map[string]delivery), gone: l.gone, changed: func(cm *corev1.ConfigMap) {
		r, unsigned, err := l.decodeFollowed(ctx, cm)
		if err != nil {
			log.WarnContext(ctx, "a record cannot be followed", "error", err)
			l.unreadable.WithLabelValues(unreadableReason(err)).Inc()
			return
		}
		if len(unsigned) > 0 {
			log.WarnContext(ctx, "parts of a record are not signed by backout, and are ignored: another client changed them, or their key is gone",
				"release", r.Release, "revision", r.Revision, "reason", strings.Join(unsigned, "; "))
			l.unsigned.Add(float64(len(unsigned)))
		}
		changed(r)
	}}
	retry := wait.Backoff{Duration: watchRetry, Cap: watchRetryMax, Factor: 2, Jitter: 0.5, Steps: 10}
	records := cache.NewReflectorWithOptions(source, &corev1.ConfigMap{}, sink, cache.ReflectorOptions{Name: "records", Backoff: &retry})
	// The Reflector's own Run does the same, and logs every error once more.
	_ = retry.DelayWithReset(clock.RealClock{}, watchRetryReset).Until(ctx, true, true, func(ctx context.Context) (bool, error) {
		_ = records.ListAndWatchWithContext(ctx)
		return false, nil
	})
}

// Retries of a record whose key cannot be read: the watch does not deliver it again.
const (
	keyRetry    = time.Second
	keyAttempts = 5
)

// decodeFollowed is decode, tried again for some seconds if the keys cannot be read.
func (l *Ledger) decodeFollowed(ctx context.Context, cm *corev1.ConfigMap) (rollback.Record, []string, error) {
	for attempt := 1; ; attempt++ {
		r, unsigned, err := l.decode(ctx, cm)
		if !errors.Is(err, errKeys) || attempt == keyAttempts {
			return r, unsigned, err
		}
		select {
		case <-time.After(keyRetry):
		case <-ctx.Done():
			return r, unsigned, err
		}
	}
}

// sink receives what a Reflector reads of one namespace. It passes ConfigMaps on and
// keeps them only in the cache, which is bounded.
type sink struct {
	namespace string
	cache     *recordCache
	changed   func(*corev1.ConfigMap)
	gone      func(k rollback.Key, revision int)
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

// Transformer returns what the Reflector does with each object of the first list as it
// arrives.
func (*sink) Transformer() cache.TransformFunc { return shorten }

// Add caches a record that was created or changed, and passes it on.
func (s *sink) Add(object any) error {
	if cm, ok := object.(*corev1.ConfigMap); ok {
		_, _ = shorten(cm)
		s.cache.set(cm)
		s.deliver(cm)
	}
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
			_, _ = shorten(cm)
			present[fullName(cm)] = true
			all = append(all, cm)
		}
	}
	s.cache.replace(s.namespace, all)
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
