package chaos

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// Replica is one backout that is started again whenever it ends: at once, but not
// in a hot loop. Its host name is that of a pod: the same one each time, as a
// kubelet restarts a container, or another one, as a Deployment replaces a pod.
type Replica struct {
	// Webhook and Ops are its two addresses, host:port.
	Webhook, Ops string

	program string
	env     []string
	log     string
	// pod is its name. Replaced, each start has one of its own.
	pod      string
	replaced bool

	mu      sync.Mutex
	process *os.Process
	starts  int
	began   time.Time     // when process was started
	gone    chan struct{} // closed when process has ended
}

// restartPause keeps a replica that ends at once from using up the processor.
const restartPause = 300 * time.Millisecond

// keep keeps the replica running until ctx ends, and returns when it has ended.
func (r *Replica) keep(ctx context.Context) error {
	log, err := os.OpenFile(r.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return fmt.Errorf("open the replica's log: %w", err)
	}
	defer func() { _ = log.Close() }()
	for ctx.Err() == nil {
		begun := time.Now()
		end, err := r.start(ctx, log)
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(log, "---- %s: ended: %v\n", time.Now().Format(time.RFC3339Nano), end())
		if time.Since(begun) < time.Second {
			select {
			case <-ctx.Done():
			case <-time.After(restartPause):
			}
		}
	}
	return nil
}

// inPod gives the process a host name before it begins.
const inPod = `echo "$1" >/proc/sys/kernel/hostname && exec "$2"`

// start starts the process and returns a function that waits for its end.
func (r *Replica) start(ctx context.Context, log *os.File) (func() error, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.starts++
	pod := r.pod
	if r.replaced {
		pod = fmt.Sprintf("%s-%d", pod, r.starts)
	}
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", inPod, "sh", pod, r.program) // killed when ctx ends
	cmd.Env, cmd.Stdout, cmd.Stderr = r.env, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Cloneflags: syscall.CLONE_NEWUTS}
	if uid := os.Geteuid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start backout: %w", err)
	}
	gone := make(chan struct{})
	r.process, r.gone, r.began = cmd.Process, gone, time.Now()
	return func() error {
		defer close(gone)
		return cmd.Wait()
	}, nil
}

// signal sends a signal to the process that runs now.
func (r *Replica) signal(s syscall.Signal) chan struct{} {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.process != nil {
		_ = r.process.Signal(s) // a process that has ended needs none
	}
	return r.gone
}

// lastStart returns when the process was started that runs now.
func (r *Replica) lastStart() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.began
}

// Kill ends the process with SIGKILL and returns when it is gone.
func (r *Replica) Kill() {
	if gone := r.signal(syscall.SIGKILL); gone != nil {
		<-gone
	}
}

// Freeze stops the process at once; Thaw lets it go on.
func (r *Replica) Freeze() { r.signal(syscall.SIGSTOP) }

// Thaw lets a frozen process go on.
func (r *Replica) Thaw() { r.signal(syscall.SIGCONT) }

// awaitReady waits until the replica says that it is ready.
func (r *Replica) awaitReady(ctx context.Context) error {
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+r.Ops+"/readyz", nil)
		if err != nil {
			return err
		}
		answer, err := http.DefaultClient.Do(request)
		if err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for backout at %s: %w; its log is %s", r.Ops, ctx.Err(), r.log)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
