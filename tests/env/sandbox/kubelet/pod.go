package kubelet

import (
	"context"
	"path/filepath"
	"sync"
	"sync/atomic"

	corev1 "k8s.io/api/core/v1"

	"github.com/upcommerce/backout/tests/env/sandbox/kubelet/cell"
)

// pod is a pod that is bound to the node, until its object is deleted.
type pod struct {
	kubelet *Kubelet
	object  atomic.Pointer[corev1.Pod] // as last seen
	dir     string                     // of volumes
	volumes *volumes
	initial []*container
	main    []*container

	ending     chan struct{} // closed when it has to end, with grace
	beginEnd   sync.Once
	gone       chan struct{} // closed when its object is deleted
	beginGone  sync.Once
	dirty      chan struct{} // holds a value if the status may have changed
	written    corev1.PodStatus
	statusDone chan struct{} // closed when the status is not written any more

	network *cell.Network // set before the first container is started, and never again

	mu        sync.Mutex
	connected bool // to network
}

// update stores the newest object, and begins to end the pod if the object is being deleted.
func (p *pod) update(object *corev1.Pod) {
	p.object.Store(object)
	p.touch()
	if object.DeletionTimestamp != nil {
		p.beginEnd.Do(func() { close(p.ending) })
	}
}

// kill ends the pod without grace.
func (p *pod) kill() { p.beginGone.Do(func() { close(p.gone) }) }

// touch causes the status to be written if it has changed.
func (p *pod) touch() {
	select {
	case p.dirty <- struct{}{}:
	default:
	}
}

func (p *pod) event(kind, reason, message string) {
	p.kubelet.event(p.object.Load(), kind, reason, message)
}

// logDir returns the directory of the containers' logs.
func (p *pod) logDir() string {
	object := p.object.Load()
	return filepath.Join(p.kubelet.Dir, "pods", object.Namespace+"_"+object.Name)
}

// until returns a context that ends with ctx or with end.
func until(ctx context.Context, end <-chan struct{}) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-end:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}
