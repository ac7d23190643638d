package helm

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

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

// readAheadWorkers is how many releases are read ahead at a time.
const readAheadWorkers = 2

// followed has the metadata of all revisions in the followed namespaces. It is safe for
// concurrent use; its zero value follows no namespace.
type followed struct {
	mu      sync.Mutex
	indexes map[string][]storageIndex // by namespace, one for each storage
}

// storageIndex has the metadata of all revisions in one storage of a namespace.
type storageIndex struct {
	cache.SharedIndexInformer

	storage rollback.Storage
}

// metas returns a release's revisions as the watch has delivered them, newest first, and
// whether it covers the release: it does not where the namespace is not followed, or the
// watch has not delivered its first list.
func (f *followed) metas(k rollback.Key) ([]revisionMeta, bool) {
	f.mu.Lock()
	indexes := f.indexes[k.Namespace]
	f.mu.Unlock()
	var all [][]revisionMeta
	for _, index := range indexes {
		if !index.HasSynced() {
			return nil, false
		}
		found, err := index.GetIndexer().ByIndex(byRelease, k.String())
		if err != nil {
			return nil, false
		}
		items := make([]metav1.PartialObjectMetadata, 0, len(found))
		for _, item := range found {
			if o, ok := item.(*metav1.PartialObjectMetadata); ok {
				items = append(items, *o)
			}
		}
		all = append(all, metasOf(index.storage, items))
	}
	return sortMetas(all...), len(indexes) > 0
}

// Follow watches which revisions the releases of the namespaces have, and reads each
// release that changes and that allows accepts, so that an alert finds it cached:
// between a deployment and its alert there is time. Correctness does not depend on
// Follow: the newest revision is compared with the store whenever that is required, and
// a revision that is not cached is read then.
//
// For a namespace whose revisions cannot be watched, Follow logs one line and tries again.
// It returns nil when ctx ends.
func (c *Client) Follow(ctx context.Context, namespaces []string, allows func(rollback.Key) bool) error {
	// client-go would log the same errors on its own logger.
	ctx = klog.NewContext(ctx, klog.New(nil))
	changed := workqueue.NewTyped[rollback.Key]()
	var all sync.WaitGroup
	for _, namespace := range namespaces {
		var indexes []storageIndex
		for _, s := range c.storages {
			informer, err := c.informer(ctx, s, namespace, func(k rollback.Key) {
				if !allows(k) {
					return
				}
				changed.Add(k)
				if c.changed != nil {
					c.changed(k)
				}
			})
			if err != nil {
				return err
			}
			indexes = append(indexes, storageIndex{informer, s})
		}
		c.followed.add(namespace, indexes)
		for _, index := range indexes {
			all.Go(func() { index.RunWithContext(ctx) })
		}
	}
	for range readAheadWorkers {
		all.Go(func() { c.readAhead(ctx, changed) })
	}
	<-ctx.Done()
	changed.ShutDown()
	all.Wait()
	return nil
}

func (f *followed) add(namespace string, indexes []storageIndex) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.indexes == nil {
		f.indexes = make(map[string][]storageIndex)
	}
	f.indexes[namespace] = indexes
}

// informer returns an informer, not yet running, of the metadata of a namespace's
// revisions in one storage. It calls changed with each release that changes after the start.
func (c *Client) informer(ctx context.Context, s rollback.Storage, namespace string, changed func(rollback.Key)) (cache.SharedIndexInformer, error) {
	informer := metadatainformer.NewFilteredMetadataInformer(c.watching, resourceOf(s), namespace, 0,
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
		err, informer.SetTransform(stripMetadata),
		informer.SetWatchErrorHandlerWithContext(func(_ context.Context, _ *cache.Reflector, err error) {
			if ctx.Err() == nil {
				once.Do(func() {
					c.log.WarnContext(ctx, "revisions cannot be followed; they are read when an alert comes", "namespace", namespace, "reason", "no watch of "+s.Kind()+"s", "error", err)
				})
			}
		}),
	)
	if err != nil {
		return nil, fmt.Errorf("follow the revisions in namespace %s: %w", namespace, err)
	}
	return informer, nil
}

// stripMetadata drops the parts of an object's metadata that no revisionMeta contains: an
// object can have a megabyte of them.
func stripMetadata(o any) (any, error) {
	m, err := meta.Accessor(o)
	if err != nil {
		return o, nil
	}
	m.SetManagedFields(nil)
	m.SetOwnerReferences(nil)
	m.SetFinalizers(nil)
	m.SetLabels(only(m.GetLabels(), "name", "owner", "status", "version"))
	m.SetAnnotations(only(m.GetAnnotations(), claimAnnotation))
	return o, nil
}

// maxKept bounds the values that only keeps, in bytes. Those of labels are shorter, and so
// is a claim.
const maxKept = 128

// only returns those of the values that have one of the keys and are not too long; nil
// without such a value.
func only(values map[string]string, keys ...string) map[string]string {
	var kept map[string]string
	for _, key := range keys {
		if value, ok := values[key]; ok && len(value) <= maxKept {
			if kept == nil {
				kept = make(map[string]string, len(keys))
			}
			kept[key] = value
		}
	}
	return kept
}

// releaseOf returns the release to which the object of a revision belongs, and whether it is
// one that Helm has written.
func releaseOf(o any) (rollback.Key, bool) {
	m, err := meta.Accessor(o)
	if err != nil {
		return rollback.Key{}, false
	}
	k := rollback.Key{Namespace: m.GetNamespace(), Release: m.GetLabels()["name"]}
	return k, k.Release != "" && strings.HasPrefix(m.GetName(), namePrefix)
}

// Count returns how many of the releases that Follow watches allows accepts.
func (c *Client) Count(allows func(rollback.Key) bool) int {
	c.followed.mu.Lock()
	indexes := slices.Concat(slices.Collect(maps.Values(c.followed.indexes))...)
	c.followed.mu.Unlock()
	count := 0
	for _, index := range indexes {
		for _, value := range index.GetIndexer().ListIndexFuncValues(byRelease) {
			namespace, release, _ := strings.Cut(value, "/")
			if allows(rollback.Key{Namespace: namespace, Release: release}) {
				count++
			}
		}
	}
	return count
}

// readAhead reads the releases that have changed.
func (c *Client) readAhead(ctx context.Context, changed workqueue.TypedInterface[rollback.Key]) {
	for {
		k, over := changed.Get()
		if over {
			return
		}
		limited, cancel := context.WithTimeout(ctx, requestTimeout)
		if metas, _ := c.followed.metas(k); len(metas) > 0 {
			// A revision that cannot be read now is read when an alert comes.
			_, _ = c.readHistory(limited, k, metas)
		}
		cancel()
		changed.Done(k)
	}
}
