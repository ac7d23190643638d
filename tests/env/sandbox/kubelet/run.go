package kubelet

import (
	"context"
	"errors"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
)

// New returns a kubelet. Run registers its node.
func New(o Options) (*Kubelet, error) {
	if o.Client == nil || o.Supervisor == nil || o.Bridge == nil || o.Log == nil {
		return nil, errors.New("make a kubelet: its client, supervisor, bridge and log are required")
	}
	if o.BackOff == (BackOff{}) {
		o.BackOff = DefaultBackOff()
	}
	return &Kubelet{Options: o, pods: map[types.UID]*pod{}}, nil
}

// Run registers the node and runs its pods until ctx ends; then it kills their processes and returns nil. It returns an error if
// the node cannot be registered.
func (k *Kubelet) Run(ctx context.Context) error {
	broadcaster := record.NewBroadcaster(record.WithContext(ctx))
	defer broadcaster.Shutdown()
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: k.Client.CoreV1().Events("")})
	k.events = broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "kubelet", Host: k.Node})

	if err := k.register(ctx); err != nil {
		return err
	}
	go k.renewLease(ctx)
	_, controller := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: cache.ToListWatcherWithWatchListSemantics(cache.NewListWatchFromClient(k.Client.CoreV1().RESTClient(), "pods",
			corev1.NamespaceAll, fields.OneTermEqualSelector("spec.nodeName", k.Node)), k.Client),
		ObjectType: &corev1.Pod{},
		Handler: cache.ResourceEventHandlerFuncs{
			AddFunc:    func(o any) { k.update(ctx, o) },
			UpdateFunc: func(_, o any) { k.update(ctx, o) },
			DeleteFunc: k.forget,
		},
	})
	controller.RunWithContext(ctx)
	k.running.Wait()
	return nil
}

// update passes the newest object to its pod, and starts the pod if it is new.
func (k *Kubelet) update(ctx context.Context, object any) {
	seen, ok := object.(*corev1.Pod)
	if !ok {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	p, known := k.pods[seen.UID]
	if !known {
		// A pod that has ended for good needs no kubelet.
		if ended(seen) && seen.DeletionTimestamp == nil {
			return
		}
		p = newPod(k, seen)
		k.pods[seen.UID] = p
		k.running.Go(func() { p.run(ctx) })
	}
	p.update(seen)
}

// forget kills a pod whose object is deleted. Most have ended before, because the kubelet itself deletes objects.
func (k *Kubelet) forget(object any) {
	if last, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = last.Obj
	}
	gone, ok := object.(*corev1.Pod)
	if !ok {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if p, known := k.pods[gone.UID]; known {
		p.kill()
		delete(k.pods, gone.UID)
	}
}
