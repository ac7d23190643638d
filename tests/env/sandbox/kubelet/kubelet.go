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
	"fmt"
	"log/slog"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
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
	// Images returns the images that pods may use. It is called for each pull: they may change while the kubelet runs.
	Images func() (Images, error)
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
