package kubelet

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// container is one container of a pod, through all its restarts.
type container struct {
	pod     *pod
	spec    *corev1.Container
	restart corev1.RestartPolicy

	// The pod's lock guards these.
	status corev1.ContainerStatus
	final  bool // it is never started again
}

func newContainer(p *pod, spec *corev1.Container, restart corev1.RestartPolicy) *container {
	reason := "ContainerCreating"
	if len(p.object.Load().Spec.InitContainers) > 0 {
		reason = "PodInitializing"
	}
	stopped := false
	return &container{pod: p, spec: spec, restart: restart, status: corev1.ContainerStatus{
		Name: spec.Name, Image: spec.Image, Started: &stopped,
		State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}},
	}}
}

// change changes the container's status, which the pod then writes.
func (c *container) change(f func(*corev1.ContainerStatus)) {
	c.pod.mu.Lock()
	f(&c.status)
	c.pod.mu.Unlock()
	c.pod.touch()
}

// end returns the container's last termination, nil if it never ended.
func (c *container) end() *corev1.ContainerStateTerminated {
	if t := c.status.State.Terminated; t != nil {
		return t
	}
	return c.status.LastTerminationState.Terminated
}

// succeeded reports whether the container has ended for good with exit code 0. The caller holds the pod's lock.
func (c *container) succeeded() bool {
	t := c.status.State.Terminated
	return c.final && t != nil && t.ExitCode == 0
}

// isInitial reports whether it is an init container, which is ready when it has succeeded.
func (c *container) isInitial() bool { return slices.Contains(c.pod.initial, c) }

// restarts reports whether the restart policy asks for a restart after this exit code.
func (c *container) restarts(code int32) bool {
	switch c.restart {
	case corev1.RestartPolicyNever:
		return false
	case corev1.RestartPolicyOnFailure:
		return code != 0
	case corev1.RestartPolicyAlways:
	}
	return true
}

// backOff waits before a restart. It returns false if life ended before that.
func (c *container) backOff(life context.Context, wait time.Duration, end corev1.ContainerStateTerminated) bool {
	if wait > 0 {
		object := c.pod.object.Load()
		message := fmt.Sprintf("back-off %s restarting failed container=%s pod=%s_%s(%s)", wait, c.spec.Name, object.Name, object.Namespace, object.UID)
		c.change(func(s *corev1.ContainerStatus) {
			s.LastTerminationState = corev1.ContainerState{Terminated: &end}
			s.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "CrashLoopBackOff", Message: message}}
		})
		c.pod.event(corev1.EventTypeWarning, "BackOff", "Back-off restarting failed container "+c.spec.Name)
		if !pause(life, wait) {
			c.change(func(s *corev1.ContainerStatus) {
				c.final = true
				s.State = corev1.ContainerState{Terminated: &end}
			})
			return false
		}
	}
	return life.Err() == nil
}
