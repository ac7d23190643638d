package helm

import (
	"context"
	"errors"
	"fmt"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/workqueue"
	"k8s.io/klog/v2"

	"github.com/upcommerce/backout/rollback"
)

// byRelease is the name of the index of revisions by their release.
const byRelease = "release"

// readers is how many releases are read ahead at a time.
const readers = 2

// followed are the heads of the revisions in the followed namespaces, by namespace.
// It is safe for concurrent use; its zero value follows nothing.
type followed struct {
	mu      sync.Mutex
	indexes map[string]cache.SharedIndexInformer
}

// heads returns what is known of a release's revisions, newest first; none if
// nothing is.
func (f *followed) heads(k rollback.Key) []head {
	f.mu.Lock()
	informer := f.indexes[k.Namespace]
	f.mu.Unlock()
	if informer == nil || !informer.HasSynced() {
		return nil
	}
	found, err := informer.GetIndexer().ByIndex(byRelease, k.String())
	if err != nil {
		return nil
	}
	items := make([]metav1.PartialObjectMetadata, 0, len(found))
	for _, item := range found {
		if o, ok := item.(*metav1.PartialObjectMetadata); ok {
			items = append(items, *o)
		}
	}
	return headsOf(items)
}

// Follow keeps at hand which revisions the releases of the namespaces have, and
// reads a release that changes, so that all is known when an alert comes: while
// something is deployed there is time. Which are read ahead allows says. Nothing
// depends on it: what is said of the newest revision is compared with the store
// whenever it matters, and what is not known is read then.
//
// A namespace whose Secrets cannot be watched is logged once, and tried again. Follow
// returns nil when ctx ends.
func (c *Client) Follow(ctx context.Context, namespaces []string, allows func(rollback.Key) bool) error {
	// client-go tells on its own logger what is told here.
	ctx = klog.NewContext(ctx, klog.New(nil))
	changed := workqueue.NewTyped[rollback.Key]()
	var all sync.WaitGroup
	for _, namespace := range namespaces {
		informer, err := c.informer(ctx, namespace, func(k rollback.Key) {
			if allows(k) {
				changed.Add(k)
			}
		})
		if err != nil {
			return err
		}
		c.followed.add(namespace, informer)
		all.Go(func() { informer.RunWithContext(ctx) })
	}
	for range readers {
		all.Go(func() { c.readAhead(ctx, changed) })
	}
	<-ctx.Done()
	changed.ShutDown()
	all.Wait()
	return nil
}

func (f *followed) add(namespace string, informer cache.SharedIndexInformer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.indexes == nil {
		f.indexes = make(map[string]cache.SharedIndexInformer)
	}
	f.indexes[namespace] = informer
}

// informer returns one, not yet running, of the heads of one namespace's revisions.
// It tells of each release that changes after the start.
func (c *Client) informer(ctx context.Context, namespace string, changed func(rollback.Key)) (cache.SharedIndexInformer, error) {
	informer := metadatainformer.NewFilteredMetadataInformer(c.watching, corev1.SchemeGroupVersion.WithResource("secrets"), namespace, 0,
		cache.Indexers{byRelease: func(o any) ([]string, error) {
			k, ok := releaseOf(o)
			if !ok {
				return nil, nil
			}
			return []string{k.String()}, nil
		}},
		func(o *metav1.ListOptions) { o.LabelSelector = "owner=helm" },
	).Informer()
	var once sync.Once
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerDetailedFuncs{
		AddFunc: func(o any, initial bool) {
			if k, ok := releaseOf(o); ok && !initial {
				changed(k)
			}
		},
		UpdateFunc: func(_, o any) {
			if k, ok := releaseOf(o); ok {
				changed(k)
			}
		},
	})
	err = errors.Join(
		err, informer.SetTransform(bareHead),
		informer.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) {
			if ctx.Err() == nil {
				once.Do(func() {
					c.log.WarnContext(ctx, "revisions cannot be followed; they are read when an alert comes", "namespace", namespace, "error", err)
				})
			}
		}),
	)
	if err != nil {
		return nil, fmt.Errorf("follow the revisions in namespace %s: %w", namespace, err)
	}
	return informer, nil
}

// bareHead leaves of a Secret's metadata what a head is made of.
func bareHead(o any) (any, error) {
	if m, err := meta.Accessor(o); err == nil {
		claim, claimed := m.GetAnnotations()[claimAnnotation]
		m.SetManagedFields(nil)
		m.SetAnnotations(nil)
		if claimed {
			m.SetAnnotations(map[string]string{claimAnnotation: claim})
		}
	}
	return o, nil
}

// releaseOf returns the release that a revision's Secret is of.
func releaseOf(o any) (rollback.Key, bool) {
	m, err := meta.Accessor(o)
	if err != nil {
		return rollback.Key{}, false
	}
	k := rollback.Key{Namespace: m.GetNamespace(), Release: m.GetLabels()["name"]}
	return k, k.Release != ""
}

// readAhead reads the releases that have changed.
func (c *Client) readAhead(ctx context.Context, changed workqueue.TypedInterface[rollback.Key]) {
	for {
		k, over := changed.Get()
		if over {
			return
		}
		limited, cancel := context.WithTimeout(ctx, requestTimeout)
		if heads := c.followed.heads(k); len(heads) > 0 {
			// What cannot be read now is read when an alert comes.
			_, _ = c.describe(limited, k, heads)
		}
		cancel()
		changed.Done(k)
	}
}
