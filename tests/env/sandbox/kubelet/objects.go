package kubelet

import (
	"context"
	"fmt"
	"maps"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
)

// objects watches the ConfigMaps and Secrets of a pod's volumes, one watch each, as a kubelet does: a watch of all Secrets would
// hold every release that Helm has written in memory.
type objects struct {
	client    rest.Interface
	namespace string
	// changed holds a value if an object may have changed.
	changed chan struct{}

	mu     sync.Mutex
	stores map[objectKey]cache.Store
}

// objectKey names an object of the namespace; kind is "configmaps" or "secrets".
type objectKey struct{ kind, name string }

func newObjects(client rest.Interface, namespace string) *objects {
	return &objects{client: client, namespace: namespace, changed: make(chan struct{}, 1), stores: map[objectKey]cache.Store{}}
}

// get returns an object's entries. The first call for an object waits for the API server and starts a watch that ends with ctx.
func (o *objects) get(ctx context.Context, key objectKey) (data map[string][]byte, found bool, err error) {
	store, err := o.follow(ctx, key)
	if err != nil {
		return nil, false, err
	}
	object, found, err := store.GetByKey(o.namespace + "/" + key.name)
	if err != nil || !found {
		return nil, false, err
	}
	data = map[string][]byte{}
	switch object := object.(type) {
	case *corev1.ConfigMap:
		for name, value := range object.Data {
			data[name] = []byte(value)
		}
		maps.Copy(data, object.BinaryData)
	case *corev1.Secret:
		data = object.Data
	}
	return data, true, nil
}

func (o *objects) follow(ctx context.Context, key objectKey) (cache.Store, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if store, ok := o.stores[key]; ok {
		return store, nil
	}
	var kind runtime.Object = &corev1.ConfigMap{}
	if key.kind == "secrets" {
		kind = &corev1.Secret{}
	}
	change := func() {
		select {
		case o.changed <- struct{}{}:
		default:
		}
	}
	store, controller := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: cache.NewListWatchFromClient(o.client, key.kind, o.namespace, fields.OneTermEqualSelector("metadata.name", key.name)),
		ObjectType:    kind,
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(any) { change() },
			UpdateFunc: func(any, any) { change() },
			DeleteFunc: func(any) { change() },
		},
	})
	go controller.RunWithContext(ctx)
	select {
	case <-controller.HasSyncedChecker().Done():
	case <-ctx.Done():
		return nil, fmt.Errorf("watch %s %s: %w", key.kind, key.name, context.Cause(ctx))
	}
	o.stores[key] = store
	return store, nil
}
