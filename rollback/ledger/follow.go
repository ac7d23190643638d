package ledger

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
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
	"github.com/upcommerce/backout/rollback/parallel"
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
// A record that cannot be decoded within the bounds, or over which changed panics, is logged,
// counted and left out. A namespace that cannot be
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
	log := l.log.With("namespace", namespace)
	sink := &sink{
		namespace: namespace, cache: &l.cache, list: firstList{all: &l.firstLists}, delivered: make(map[string]delivery), gone: l.gone,
		changed: func(cm *corev1.ConfigMap) {
			// Another client may have written it. It is left out, and the others go on.
			if p := parallel.Try(func() { l.followed(ctx, log, cm, changed) }); p != nil {
				log.ErrorContext(ctx, "a record cannot be followed", "error", fmt.Errorf("%s: %w", cm.Name, p))
				l.unreadable.WithLabelValues(unreadableDamaged).Inc()
			}
		},
		tooMany: func() {
			log.WarnContext(ctx, "a namespace has too many records to follow them all; delete those that backout does not need", "count", maxFollowed)
		},
	}
	retry := wait.Backoff{Duration: watchRetry, Cap: watchRetryMax, Factor: 2, Jitter: 0.5, Steps: 10}
	records := cache.NewReflectorWithOptions(l.source(namespace, sink, log), &corev1.ConfigMap{}, sink, cache.ReflectorOptions{Name: "records", Backoff: &retry})
	// The Reflector's own Run does the same, and logs every error once more.
	_ = retry.DelayWithReset(clock.RealClock{}, watchRetryReset).Until(ctx, true, true, func(ctx context.Context) (bool, error) {
		_ = records.ListAndWatchWithContext(ctx)
		sink.list.begin()
		return false, nil
	})
}

// source lists and watches the records of a namespace. It logs the first of several failures.
func (l *Ledger) source(namespace string, s *sink, log *slog.Logger) cache.ListerWatcher {
	maps := l.client.CoreV1().ConfigMaps(namespace)
	var last failure
	failed := func(ctx context.Context, err error) {
		if ctx.Err() == nil && last.isNew(err) {
			log.WarnContext(ctx, "records cannot be followed; trying again", "error", err)
		}
	}
	return cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			o.LabelSelector = recordSelector
			list, err := maps.List(ctx, o)
			if err != nil {
				failed(ctx, err)
				return list, err
			}
			if o.Continue == "" {
				s.list.begin()
			}
			s.take(list)
			return list, nil
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			o.LabelSelector = recordSelector
			events, err := maps.Watch(ctx, o)
			failed(ctx, err)
			return events, err
		},
	}, l.client)
}

// followed passes a record on that the watch has delivered. It reads one that a list had no
// room for.
func (l *Ledger) followed(ctx context.Context, log *slog.Logger, cm *corev1.ConfigMap, changed func(rollback.Record)) {
	if cm.Data[recordKey] == leftOutMark {
		read, err := l.client.CoreV1().ConfigMaps(cm.Namespace).Get(ctx, cm.Name, metav1.GetOptions{})
		if err != nil {
			log.WarnContext(ctx, "a record cannot be followed", "error", err)
			return
		}
		cm = read
		shorten(cm)
		l.cache.set(cm)
	}
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
