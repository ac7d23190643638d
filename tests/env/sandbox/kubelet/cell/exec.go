package cell

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/upcommerce/backout/tests/env/sandbox/control"
)

// Exec runs another program in the cell of p until it ends. When ctx ends, Exec kills it and returns an error. The program's
// own Network, Hostname and Tree are ignored.
func (p *Process) Exec(ctx context.Context, program Program) (control.Exit, error) {
	e, err := onOwnThread(func() (*Process, error) {
		if err := p.enter(); err != nil {
			return nil, err
		}
		path, err := lookPath("/", program.Args[0], program.Env)
		if err != nil {
			return nil, err
		}
		e := &Process{supervisor: p.supervisor, done: make(chan struct{})}
		exit, err := e.spawn(path, program, &syscall.SysProcAttr{Setsid: true})
		if err != nil {
			return nil, err
		}
		go e.await(exit)
		return e, nil
	})
	if err != nil {
		return control.Exit{}, err
	}
	select {
	case <-e.done:
		return e.exit, nil
	case <-ctx.Done():
		err := e.Signal(syscall.SIGKILL)
		<-e.done
		return e.exit, errors.Join(context.Cause(ctx), err)
	}
}

// enter moves the calling thread into the cell.
func (p *Process) enter() error {
	select {
	case <-p.done:
		return os.ErrProcessDone
	default:
	}
	// A thread can change its root directory only if it does not share it.
	if err := unix.Unshare(unix.CLONE_FS); err != nil {
		return fmt.Errorf("unshare the root directory: %w", err)
	}
	if err := errors.Join(enter(p.network.namespace, unix.CLONE_NEWNET), enter(p.mounts, unix.CLONE_NEWNS)); err != nil {
		return err
	}
	if err := errors.Join(unix.Fchdir(int(p.root.Fd())), unix.Chroot(".")); err != nil {
		return fmt.Errorf("change to the root of a cell: %w", err)
	}
	return nil
}
