package kubelet

import (
	"context"
	"crypto/rand"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/upcommerce/backout/tests/env/sandbox/kubelet/cell"
)

// run runs the container, and restarts it by its restart policy, until it has ended for good. It reports whether the last exit
// code was 0. The container ends with grace when life ends, and without when ctx ends.
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

// once runs the container's program once.
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
	case reason := <-unhealthy:
		c.pod.event(corev1.EventTypeNormal, "Killing", reason.message)
		c.stop(ctx, process, reason.grace)
	}
	t := terminated(process.Exit())
	t.StartedAt, t.FinishedAt, t.ContainerID = now, metav1.Now(), id
	return t
}
