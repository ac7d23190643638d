package ledger

import (
	"context"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"k8s.io/utils/clock"

	"github.com/upcommerce/backout/rollback"
)

// How long a watch that failed waits before it is tried again. The cap is short:
// when the API server is back, so must be the news.
const (
	watchRetry      = 200 * time.Millisecond
	watchRetryMax   = 5 * time.Second
	watchRetryReset = 10 * time.Minute
)

// Follow calls changed for every record of the ledger's namespaces at the start,
// and then for each that is written, by whichever process, milliseconds later. Of
// several quick changes to one record it may tell the last one only. Options.Gone
// is told of deleted records. It calls both from one goroutine per namespace, so
// that several calls may run at once; a call that takes its time delays its own
// namespace.
//
// A record that cannot be decoded is logged and left out. A namespace that cannot
// be watched is logged and tried again, every few seconds, and does not delay the
// others. Follow returns nil when ctx ends.
func (l *Ledger) Follow(ctx context.Context, changed func(rollback.Record)) error {
	// client-go tells on its own logger what is told here.
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
	var trouble trouble
	source := cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.LabelSelector = recordSelector
			list, err := maps.List(ctx, o)
			if err != nil && ctx.Err() == nil && trouble.news(err) {
				log.WarnContext(ctx, "records cannot be followed; trying again", "error", err)
			}
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.LabelSelector = recordSelector
			events, err := maps.Watch(ctx, o)
			if ctx.Err() == nil && trouble.news(err) {
				log.WarnContext(ctx, "records cannot be followed; trying again", "error", err)
			}
			return events, err
		},
	}, l.client)
	sink := &sink{namespace: namespace, memory: &l.memory, told: make(map[string]told), gone: l.gone, tell: func(cm *corev1.ConfigMap) {
		r, err := decode(cm)
		if err != nil {
			log.WarnContext(ctx, "a record cannot be followed", "error", err)
			return
		}
		changed(r)
	}}
	retry := wait.Backoff{Duration: watchRetry, Cap: watchRetryMax, Factor: 2, Jitter: 0.5, Steps: 10}
	records := cache.NewReflectorWithOptions(source, &corev1.ConfigMap{}, sink, cache.ReflectorOptions{Name: "records", Backoff: &retry})
	// The Reflector's own Run does the same, and tells errors once more.
	_ = retry.DelayWithReset(clock.RealClock{}, watchRetryReset).Until(ctx, true, true, func(ctx context.Context) (bool, error) {
		_ = records.ListAndWatchWithContext(ctx)
		return false, nil
	})
}

// sink is where a Reflector puts what it reads of one namespace. It passes ConfigMaps
// on and keeps none of them but in the memory, which is bounded.
type sink struct {
	namespace string
	memory    *memory
	tell      func(*corev1.ConfigMap)
	gone      func(k rollback.Key, revision int)
	// told is what was last told, by name: when a watch begins anew, it brings
	// everything again.
	told map[string]told
}

// told is one record that was told of: in which state, and about what.
type told struct {
	version  string
	key      rollback.Key
	revision int
}

var _ cache.ReflectorStore = (*sink)(nil)

func (s *sink) Add(object any) error {
	if cm, ok := object.(*corev1.ConfigMap); ok {
		s.memory.keep(cm)
	}
	return s.pass(object)
}

// pass tells of a record, unless that was told already.
func (s *sink) pass(object any) error {
	if cm, ok := object.(*corev1.ConfigMap); ok && s.told[name(cm)].version != cm.ResourceVersion {
		s.told[name(cm)] = about(cm)
		s.tell(cm)
	}
	return nil
}

// name is unique over all namespaces: one sink may follow them all.
func name(cm *corev1.ConfigMap) string { return cm.Namespace + "/" + cm.Name }

// about returns what a record's ConfigMap is about. Its labels say so; whether the
// record itself can be read does not matter.
func about(cm *corev1.ConfigMap) told {
	revision, _ := strconv.Atoi(cm.Labels[revisionLabel])
	return told{
		version: cm.ResourceVersion, revision: revision,
		key: rollback.Key{Namespace: cm.Namespace, Release: cm.Labels[releaseLabel]},
	}
}

func (s *sink) Update(object any) error { return s.Add(object) }

func (s *sink) Delete(object any) error {
	if cm, ok := object.(*corev1.ConfigMap); ok {
		s.memory.drop(cm)
		s.forget(name(cm))
	}
	return nil
}

func (s *sink) forget(name string) {
	if was, ok := s.told[name]; ok {
		delete(s.told, name)
		s.gone(was.key, was.revision)
	}
}

func (s *sink) Replace(objects []any, _ string) error {
	there := make(map[string]bool, len(objects))
	var all []*corev1.ConfigMap
	for _, object := range objects {
		if cm, ok := object.(*corev1.ConfigMap); ok {
			there[name(cm)] = true
			all = append(all, cm)
		}
	}
	s.memory.replace(s.namespace, all)
	for _, object := range objects {
		if err := s.pass(object); err != nil {
			return err
		}
	}
	for name := range s.told {
		if !there[name] {
			s.forget(name)
		}
	}
	return nil
}

func (*sink) Resync() error { return nil }

// trouble is what last went wrong with something that is tried again and again, so
// that it is told once. It belongs to one goroutine at a time.
type trouble struct {
	begun  bool
	reason metav1.StatusReason
}

// news reports whether err is of another kind than the last one, or the first one
// after a success. Success is nil.
func (t *trouble) news(err error) bool {
	if err == nil {
		*t = trouble{}
		return false
	}
	now := trouble{begun: true, reason: apierrors.ReasonForError(err)}
	news := now != *t
	*t = now
	return news
}
