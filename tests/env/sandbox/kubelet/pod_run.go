package kubelet

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// run runs the pod until its end. ctx is the kubelet's.
func (p *pod) run(ctx context.Context) {
	ctx, cancel := until(ctx, p.gone)
	defer cancel()
	statusEnd := make(chan struct{})
	go p.keepStatus(ctx, statusEnd)
	life, end := until(ctx, p.ending)
	p.live(ctx, life)
	// A pod that has ended by itself stays until it is deleted.
	<-life.Done()
	end()
	p.clean(ctx)
	close(statusEnd)
	<-p.statusDone
	p.remove(ctx)
}

// setUp creates the pod's network and its volumes. It retries until life ends.
func (p *pod) setUp(life context.Context) bool {
	for {
		n, err := p.kubelet.Bridge.Attach()
		if err == nil {
			p.network = n
			break
		}
		p.event(corev1.EventTypeWarning, "FailedCreatePodSandBox", err.Error())
		if !pause(life, p.kubelet.BackOff.Initial) {
			return false
		}
	}
	p.setConnected(true)
	return p.volumes.setUp(life)
}

// setConnected stores whether the pod has its network.
func (p *pod) setConnected(connected bool) {
	p.mu.Lock()
	p.connected = connected
	p.mu.Unlock()
	p.touch()
}

// grace returns the pod's grace period.
func (p *pod) grace() time.Duration {
	object := p.object.Load()
	seconds := int64(corev1.DefaultTerminationGracePeriodSeconds)
	if s := object.Spec.TerminationGracePeriodSeconds; s != nil {
		seconds = *s
	}
	if s := object.DeletionGracePeriodSeconds; s != nil {
		seconds = *s
	}
	return time.Duration(seconds) * time.Second
}

// clean removes the pod's network and volumes. Its logs stay.
func (p *pod) clean(ctx context.Context) {
	p.setConnected(false)
	if p.network != nil {
		if err := p.network.Close(); err != nil {
			p.kubelet.warn(ctx, p.object.Load(), err)
		}
	}
	if err := os.RemoveAll(p.dir); err != nil {
		p.kubelet.warn(ctx, p.object.Load(), err)
	}
}

// remove deletes the object of a pod that was asked to end and has ended.
func (p *pod) remove(ctx context.Context) {
	object, now := p.object.Load(), int64(0)
	for ctx.Err() == nil {
		err := p.kubelet.Client.CoreV1().Pods(object.Namespace).Delete(ctx, object.Name, metav1.DeleteOptions{
			GracePeriodSeconds: &now, Preconditions: metav1.NewUIDPreconditions(string(object.UID)),
		})
		if err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) {
			return
		}
		p.kubelet.warn(ctx, object, err)
		pause(ctx, time.Second)
	}
}

func newPod(k *Kubelet, object *corev1.Pod) *pod {
	p := &pod{
		kubelet: k,
		dir:     filepath.Join(k.Dir, "volumes", string(object.UID)),
		written: *object.Status.DeepCopy(),
		ending:  make(chan struct{}), gone: make(chan struct{}),
		dirty: make(chan struct{}, 1), statusDone: make(chan struct{}),
	}
	p.object.Store(object)
	p.volumes = newVolumes(p)
	untilDone := corev1.RestartPolicyOnFailure
	if object.Spec.RestartPolicy == corev1.RestartPolicyNever {
		untilDone = corev1.RestartPolicyNever
	}
	for i := range object.Spec.InitContainers {
		p.initial = append(p.initial, newContainer(p, &object.Spec.InitContainers[i], untilDone))
	}
	for i := range object.Spec.Containers {
		p.main = append(p.main, newContainer(p, &object.Spec.Containers[i], object.Spec.RestartPolicy))
	}
	return p
}

// live runs the pod's containers until they have ended. life ends when the pod has to end with grace, ctx when it has to end at
// once.
func (p *pod) live(ctx, life context.Context) {
	if !p.setUp(life) {
		return
	}
	go p.volumes.keep(life)
	for _, c := range p.initial {
		if !c.run(ctx, life) {
			return
		}
	}
	var all sync.WaitGroup
	for _, c := range p.main {
		all.Go(func() { c.run(ctx, life) })
	}
	all.Wait()
}
