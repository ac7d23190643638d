// Package kubelet runs the pods of a sandbox as processes of this machine. An image is a local executable; everything else that
// the real controllers rely on is as with a real kubelet: a Node and its Lease, an IP per pod, environment, volumes, probes,
// restarts with back-off, graceful termination, and the pod's status with a kubelet's reasons.
//
// Not supported: pulling images, kubectl logs and exec, DNS, limits of CPU and memory, users and capabilities of a
// securityContext, sidecars (init containers that keep running), the host's network, ephemeral containers, gRPC probes,
// termination messages, active deadlines, and volumes other than configMap, secret, downwardAPI, projected, emptyDir and
// hostPath.
package kubelet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"github.com/upcommerce/backout/tests/env/sandbox/inside"
	"github.com/upcommerce/backout/tests/env/sandbox/kubelet/cell"
)

// Options configure a kubelet. Every field but BackOff is required.
type Options struct {
	// Node is the name of the Node.
	Node string
	// Version is the kubelet's version in the Node's status, "v1.2.3".
	Version string
	// Client has the admin's rights and no rate limit.
	Client     kubernetes.Interface
	Supervisor *inside.Supervisor
	Bridge     *cell.Bridge
	// PodCIDR is the bridge's network.
	PodCIDR string
	Images  Images
	// Dir receives volumes, and logs as pods/NAMESPACE_NAME/CONTAINER.log.
	Dir string
	// APIServer is the ClusterIP of the Service kubernetes; its port is 443.
	APIServer string
	// BackOff is the delay between restarts; the zero value is DefaultBackOff.
	BackOff BackOff
	Log     *slog.Logger
}

// Kubelet is the kubelet of one node.
type Kubelet struct {
	Options
	events record.EventRecorder

	mu   sync.Mutex
	pods map[types.UID]*pod
	// running counts the goroutines of pods.
	running sync.WaitGroup
}

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

func ended(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

// event writes an Event about a pod.
func (k *Kubelet) event(about runtime.Object, kind, reason, message string) {
	k.events.Event(about, kind, reason, message)
}

// pause waits for d. It returns false if ctx ended before that.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// warn logs an error of a pod.
func (k *Kubelet) warn(ctx context.Context, p *corev1.Pod, err error) {
	if ctx.Err() != nil {
		return
	}
	k.Log.WarnContext(ctx, "a pod has an error", "error", fmt.Errorf("run pod %s/%s: %w", p.Namespace, p.Name, err))
}
