package traffic

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
)

// Times of a watch that ended or could not begin.
const (
	watchRetry    = 200 * time.Millisecond
	watchRetryMax = 30 * time.Second
	// watchTimeout is how long a watch lasts before it begins again.
	watchTimeout = 5 * time.Minute
)

// Watch calls changed soon after each change of a routing object of that kind in the
// namespace, and at least once when it begins, until ctx ends. It returns at once. Changes of
// an object's status do not count.
//
// covers reports whether Watch sees every change now. It does not before it has begun, after
// an error until it has begun again, and where backout may not watch the kind. Of a kind that
// exists in two API groups or versions, one may be absent or unreadable. It is nil for a kind that no router
// has, of which nothing is watched.
func (r *Router) Watch(ctx context.Context, namespace, kindName string, changed func()) (covers func() bool) {
	var all []*kindWatch
	for group, k := range r.kinds {
		if group.Kind != kindName {
			continue
		}
		for _, version := range k.versions() {
			w := &kindWatch{
				router: r, namespace: namespace, changed: changed,
				resource: schema.GroupVersionResource{Group: group.Group, Version: version, Resource: k.resource},
			}
			all = append(all, w)
			go w.run(ctx)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return func() bool {
		lives := func(w *kindWatch) bool { return w.state.Load() == watchLive }
		fails := func(w *kindWatch) bool { return w.state.Load() == watchBroken }
		return slices.ContainsFunc(all, lives) && !slices.ContainsFunc(all, fails)
	}
}

// kindWatch is the watch of one kind in one namespace.
type kindWatch struct {
	router    *Router
	namespace string
	resource  schema.GroupVersionResource
	changed   func()
	state     atomic.Int32
}

// The states of a kindWatch: it sees nothing, it sees every change, or there is nothing that
// backout could read.
const (
	watchBroken int32 = iota
	watchLive
	watchRefused
)

func (w *kindWatch) run(ctx context.Context) {
	for wait := watchRetry; ctx.Err() == nil; {
		began := time.Now()
		err := w.follow(ctx)
		w.state.Store(watchBroken)
		switch {
		case apierrors.IsNotFound(err), apierrors.IsForbidden(err) && !w.readable(ctx):
			w.state.Store(watchRefused)
			wait = refusedInterval
		case err == nil || time.Since(began) > watchRetryMax:
			wait = watchRetry
		default:
			wait = min(2*wait, watchRetryMax)
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// readable reports whether backout may list the kind.
func (w *kindWatch) readable(ctx context.Context) bool {
	o := fromAPICache()
	o.Limit = 1
	_, err := w.router.objects.Resource(w.resource).Namespace(w.namespace).List(ctx, o)
	return !apierrors.IsForbidden(err) && !apierrors.IsNotFound(err)
}

// follow follows one watch to its end. A watch without a version begins with the objects that
// there are.
func (w *kindWatch) follow(ctx context.Context) error {
	seconds := int64(watchTimeout / time.Second)
	events, err := w.router.objects.Resource(w.resource).Namespace(w.namespace).Watch(ctx, metav1.ListOptions{TimeoutSeconds: &seconds})
	if err != nil {
		return err
	}
	defer events.Stop()
	w.state.Store(watchLive)
	w.changed()
	known := make(map[string]uint64)
	for {
		select {
		case <-ctx.Done():
			return nil
		case event, open := <-events.ResultChan():
			if !open {
				return nil
			}
			if event.Type == watch.Error {
				return apierrors.FromObject(event.Object)
			}
			if o, ok := event.Object.(*unstructured.Unstructured); ok && isNews(known, event.Type, o) {
				w.changed()
			}
		}
	}
}

// isNews reports whether an event changes more than an object's status, and notes the object.
func isNews(known map[string]uint64, event watch.EventType, o *unstructured.Unstructured) bool {
	if event == watch.Bookmark {
		return false
	}
	text := fnv.New64a()
	_, _ = fmt.Fprint(text, o.GetGeneration(), o.GetAnnotations())
	if o.GetGeneration() == 0 {
		_, _ = fmt.Fprint(text, o.GetResourceVersion())
	}
	now := text.Sum64()
	if event == watch.Deleted {
		delete(known, o.GetName())
		return true
	}
	before, ok := known[o.GetName()]
	known[o.GetName()] = now
	return !ok || before != now
}
