package kubelet

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/upcommerce/backout/tests/sandbox/kubelet/cell"
)

// container is one of a pod's, through all its restarts.
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

// change changes what is known of the container, and has it told.
func (c *container) change(f func(*corev1.ContainerStatus)) {
	c.pod.mu.Lock()
	f(&c.status)
	c.pod.mu.Unlock()
	c.pod.touch()
}

// end is how the container ended last, nil if it never has.
func (c *container) end() *corev1.ContainerStateTerminated {
	if t := c.status.State.Terminated; t != nil {
		return t
	}
	return c.status.LastTerminationState.Terminated
}

// succeeded tells whether it has ended for good, and well; with the pod's lock held.
func (c *container) succeeded() bool {
	t := c.status.State.Terminated
	return c.final && t != nil && t.ExitCode == 0
}

// run runs the container, again and again as its restart policy wants, until it has ended for good. It tells whether with exit
// code 0. When life ends it is ended with grace, when ctx ends without.
func (c *container) run(ctx, life context.Context) bool {
	defer c.pod.touch()
	failures := delays{pace: c.pod.kubelet.BackOff}
	for {
		program, ok := c.prepare(life)
		if !ok {
			return false
		}
		begin := time.Now()
		end := c.once(ctx, life, program)
		final := life.Err() != nil || !c.restarts(end.ExitCode)
		c.change(func(s *corev1.ContainerStatus) {
			c.final = final
			s.State = corev1.ContainerState{Terminated: &end}
			stopped := false
			s.Ready, s.Started = final && end.ExitCode == 0 && c.isInitial(), &stopped
		})
		if final {
			return end.ExitCode == 0
		}
		if !c.backOff(life, failures.afterRun(time.Since(begin)), end) {
			return false
		}
	}
}

// isInitial tells whether it is an init container, which is ready when it has done its work.
func (c *container) isInitial() bool { return slices.Contains(c.pod.initial, c) }

// restarts tells what the restart policy wants after an end.
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

// backOff waits before a restart. It is false when life ended before.
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

// once runs the container's program one time.
func (c *container) once(ctx, life context.Context, program cell.Program) corev1.ContainerStateTerminated {
	id := "process://" + rand.Text()
	defer func() { _ = program.Log.Close() }()
	process, err := cell.Start(c.pod.kubelet.Supervisor, program)
	now := metav1.Now()
	c.change(func(s *corev1.ContainerStatus) {
		if s.ContainerID != "" {
			s.RestartCount++
		}
		if t := s.State.Terminated; t != nil {
			s.LastTerminationState = corev1.ContainerState{Terminated: t}
		}
		s.ContainerID = id
	})
	if err != nil {
		c.pod.event(corev1.EventTypeWarning, "Failed", "Error: "+err.Error())
		return corev1.ContainerStateTerminated{
			ExitCode: 128, Reason: "StartError", Message: "failed to start the container: " + err.Error(),
			StartedAt: now, FinishedAt: now, ContainerID: id,
		}
	}
	c.pod.event(corev1.EventTypeNormal, "Started", "Container started")
	c.change(func(s *corev1.ContainerStatus) {
		s.State = corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}}
		started := c.spec.StartupProbe == nil
		s.Started, s.Ready = &started, started && c.spec.ReadinessProbe == nil
	})
	unhealthy := c.watch(ctx, process)
	c.postStart(ctx, process, unhealthy)
	select {
	case <-process.Done():
	case <-life.Done():
		c.stop(ctx, process, c.pod.grace())
	case why := <-unhealthy:
		c.pod.event(corev1.EventTypeNormal, "Killing", why.message)
		c.stop(ctx, process, why.grace)
	}
	t := terminated(process.Exit())
	t.StartedAt, t.FinishedAt, t.ContainerID = now, metav1.Now(), id
	return t
}
