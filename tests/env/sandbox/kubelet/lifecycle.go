package kubelet

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/upcommerce/backout/tests/env/sandbox/control"
	"github.com/upcommerce/backout/tests/env/sandbox/kubelet/cell"
)

// configRetry is how often the start of a container is retried that lacks a ConfigMap or a Secret.
const configRetry = 300 * time.Millisecond

// prepare returns the container's program with its environment. While one is missing, it says so in the status and retries. It
// returns false if life ended before that.
func (c *container) prepare(life context.Context) (cell.Program, bool) {
	pulls := delays{pace: c.pod.kubelet.BackOff}
	for life.Err() == nil {
		program, err := c.pod.kubelet.image(c.spec.Image)
		if err != nil {
			c.pod.event(corev1.EventTypeWarning, "Failed", fmt.Sprintf("Failed to pull image %q: %v", c.spec.Image, err))
			c.setWaiting("ErrImagePull", err.Error())
			// A kubelet shows the failure until it syncs the pod again.
			if !pause(life, min(configRetry, c.pod.kubelet.BackOff.Initial)) {
				break
			}
			c.setWaiting("ImagePullBackOff", fmt.Sprintf("Back-off pulling image %q: ErrImagePull: %v", c.spec.Image, err))
			pause(life, pulls.afterPull())
			continue
		}
		prepared, err := c.program(life, program)
		if err == nil {
			c.change(func(s *corev1.ContainerStatus) { s.ImageID = imageID(c.spec.Image, program) })
			return prepared, true
		}
		c.setWaiting("CreateContainerConfigError", err.Error())
		pause(life, configRetry)
	}
	return cell.Program{}, false
}

// setWaiting sets the reason why the container is not started.
func (c *container) setWaiting(reason, message string) {
	c.change(func(s *corev1.ContainerStatus) {
		if t := s.State.Terminated; t != nil {
			s.LastTerminationState = corev1.ContainerState{Terminated: t}
		}
		s.State = corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}}
	})
}

// program returns the container as a program to start. Its log is open.
func (c *container) program(ctx context.Context, image string) (cell.Program, error) {
	object := c.pod.object.Load()
	env, err := c.environment(ctx)
	if err != nil {
		return cell.Program{}, err
	}
	mounts, err := c.mounts()
	if err != nil {
		return cell.Program{}, err
	}
	args := expandAll(c.spec.Command, env)
	if len(args) == 0 {
		args = []string{image}
	}
	args = append(args, expandAll(c.spec.Args, env)...)
	scratch := filepath.Join(c.pod.dir, "root-"+c.spec.Name)
	log := filepath.Join(c.pod.logDir(), c.spec.Name+".log")
	for _, dir := range []string{scratch, filepath.Dir(log)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return cell.Program{}, fmt.Errorf("make a directory for the container %s: %w", c.spec.Name, err)
		}
	}
	output, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return cell.Program{}, fmt.Errorf("open the log of container %s: %w", c.spec.Name, err)
	}
	s := c.spec.SecurityContext
	return cell.Program{
		Network:  c.pod.network,
		Hostname: hostname(object),
		Tree: cell.Tree{
			Scratch: scratch, Programs: []string{image}, Mounts: mounts,
			ReadOnly: s != nil && s.ReadOnlyRootFilesystem != nil && *s.ReadOnlyRootFilesystem,
		},
		Args: args, Env: env.list(), Dir: c.spec.WorkingDir, Log: output,
	}, nil
}

// hostname returns the pod's host name, cut to the kernel's limit.
func hostname(p *corev1.Pod) string {
	name := p.Name
	if p.Spec.Hostname != "" {
		name = p.Spec.Hostname
	}
	return name[:min(len(name), 63)]
}

// stop ends a process: the preStop hook, SIGTERM, and SIGKILL when the grace period is over or ctx ends.
func (c *container) stop(ctx context.Context, process *cell.Process, grace time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, grace)
	defer cancel()
	if l := c.spec.Lifecycle; l != nil && l.PreStop != nil {
		if err := c.handle(ctx, process, *l.PreStop); err != nil && ctx.Err() == nil {
			c.pod.event(corev1.EventTypeWarning, "FailedPreStopHook", err.Error())
		}
	}
	if ctx.Err() == nil {
		if err := process.Signal(syscall.SIGTERM); err != nil {
			c.pod.kubelet.warn(ctx, c.pod.object.Load(), err)
		}
	}
	select {
	case <-process.Done():
		return
	case <-ctx.Done():
	}
	_ = process.Signal(syscall.SIGKILL)
	<-process.Done()
}

// postStart runs the hook in parallel with the container; if it fails, the container ends.
func (c *container) postStart(ctx context.Context, process *cell.Process, unhealthy chan<- restartReason) {
	l := c.spec.Lifecycle
	if l == nil || l.PostStart == nil {
		return
	}
	go func() {
		if err := c.handle(ctx, process, *l.PostStart); err != nil {
			c.pod.event(corev1.EventTypeWarning, "FailedPostStartHook", err.Error())
			reportUnhealthy(unhealthy, restartReason{message: "FailedPostStartHook", grace: c.pod.grace()})
		}
	}()
}

// handle runs a hook.
func (c *container) handle(ctx context.Context, process *cell.Process, h corev1.LifecycleHandler) error {
	if h.Sleep != nil {
		select {
		case <-process.Done():
		case <-ctx.Done():
		case <-time.After(time.Duration(h.Sleep.Seconds) * time.Second):
		}
		return nil
	}
	return c.check(ctx, process, corev1.ProbeHandler{Exec: h.Exec, HTTPGet: h.HTTPGet, TCPSocket: h.TCPSocket})
}

// execute runs a command in the container. An exit code other than 0 is an error that contains the output.
func (c *container) execute(ctx context.Context, process *cell.Process, command []string) error {
	env, err := c.environment(ctx)
	if err != nil {
		return err
	}
	output, err := os.CreateTemp(c.pod.dir, "exec-")
	if err != nil {
		return fmt.Errorf("store the output of a command: %w", err)
	}
	defer func() { _, _ = output.Close(), os.Remove(output.Name()) }()
	exit, err := process.Exec(ctx, cell.Program{Args: command, Env: env.list(), Dir: c.spec.WorkingDir, Log: output})
	if err != nil {
		return fmt.Errorf("command %q: %w", command, err)
	}
	if exit.Code != 0 {
		text, _ := os.ReadFile(output.Name())
		return fmt.Errorf("command %q ended with exit code %d: %s", command, terminated(exit).ExitCode, bytes.TrimSpace(text[:min(len(text), 1000)]))
	}
	return nil
}

// terminated describes an exit as a container runtime does.
func terminated(e control.Exit) corev1.ContainerStateTerminated {
	t := corev1.ContainerStateTerminated{ExitCode: int32(e.Code), Reason: "Completed"} //nolint:gosec // a byte
	if e.Signal != "" {
		t.ExitCode = 128 + int32(e.Number) //nolint:gosec // at most 64
	}
	if t.ExitCode != 0 {
		t.Reason = "Error"
	}
	return t
}
