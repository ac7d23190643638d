package sandbox

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/upcommerce/backout/tests/env/sandbox/control"
)

// InnerRole is the argument that gives the sandbox program the role inside; its directory follows.
const InnerRole = "inside"

// inner is the sandbox program in its namespaces, as the outer program sees it.
type inner struct {
	cmd     *exec.Cmd
	leash   io.Closer // its standard input: it exits when this end is closed, for whatever reason
	reports chan control.Report
	done    chan struct{} // closed when the process and all others inside have ended
}

func startInner(program, dir string, log io.Writer) (*inner, error) {
	i := &inner{reports: make(chan control.Report, 16), done: make(chan struct{})}
	var stdout io.Reader
	cmd, err := startInNamespaces(func() (*exec.Cmd, error) {
		cmd := exec.Command(program, InnerRole, dir) //nolint:noctx // the context that bounds the opening must not end what was opened
		cmd.Dir = dir
		// The control plane does not inherit the caller's environment; a proxy variable, for example, would break it.
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir}
		cmd.Stderr = log
		var errIn, errOut error
		i.leash, errIn = cmd.StdinPipe()
		stdout, errOut = cmd.StdoutPipe()
		return cmd, errors.Join(errIn, errOut)
	})
	if err != nil {
		return nil, err
	}
	i.cmd = cmd
	go i.listen(stdout)
	return i, nil
}

// listen passes reports on until the program ends.
func (i *inner) listen(stdout io.Reader) {
	defer close(i.done)
	defer func() { _ = i.cmd.Wait() }()
	defer close(i.reports)
	lines := bufio.NewScanner(stdout)
	for lines.Scan() {
		var r control.Report
		if json.Unmarshal(lines.Bytes(), &r) == nil {
			i.reports <- r
		}
	}
}

// await returns when the program has reached the stage.
func (i *inner) await(ctx context.Context, last control.Stage, progress func(string)) error {
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case r, running := <-i.reports:
			switch {
			case !running:
				return errors.New("run the control plane: it ended while it started")
			case r.Refused:
				return readKernelSettings().explain(fmt.Errorf("%s: %w", r.Error, syscall.EPERM))
			case r.Error != "":
				return errors.New(r.Error)
			}
			progress("starting " + string(r.Stage))
			if r.Stage == last {
				return nil
			}
		}
	}
}

// end closes the leash, and kills the program if it does not end by itself. The kernel ends everything else in its PID
// namespace before it reports the end.
func (i *inner) end() {
	_ = i.leash.Close()
	select {
	case <-i.done:
	case <-time.After(closeLimit):
		_ = i.cmd.Process.Kill()
		<-i.done
	}
}

// awaitControllers returns when the controllers have made the default service account and root certificate, which a pod needs
// to start, and the node is ready.
func (s *Sandbox) awaitControllers(ctx context.Context) error {
	client, err := kubernetes.NewForConfig(s.RESTConfig())
	if err != nil {
		return fmt.Errorf("make a client for the sandbox: %w", err)
	}
	core := client.CoreV1()
	s.progress("waiting for the node")
	for _, exists := range []func() error{
		func() error {
			_, err := core.ServiceAccounts("default").Get(ctx, "default", metav1.GetOptions{})
			return err
		},
		func() error {
			_, err := core.ConfigMaps("default").Get(ctx, "kube-root-ca.crt", metav1.GetOptions{})
			return err
		},
		func() error {
			node, err := core.Nodes().Get(ctx, NodeName, metav1.GetOptions{})
			// It has a taint until the controllers have seen that it is ready.
			if err == nil && len(node.Spec.Taints) > 0 {
				return errNotYet
			}
			return err
		},
	} {
		if err := s.awaitFound(ctx, exists); err != nil {
			return err
		}
	}
	return nil
}

// errNotYet is for an object that exists but is not ready.
var errNotYet = errors.New("not ready yet")

// awaitFound polls until an object exists and is ready.
func (s *Sandbox) awaitFound(ctx context.Context, get func() error) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		err := get()
		if err == nil {
			return nil
		}
		if !apierrors.IsNotFound(err) && !errors.Is(err, errNotYet) {
			return fmt.Errorf("wait for the controllers: %w", errors.Join(context.Cause(ctx), err))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the controllers: %w", context.Cause(ctx))
		case <-s.Done():
			return errors.New("wait for the controllers: the control plane ended")
		case <-tick.C:
		}
	}
}
