package cell

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/upcommerce/backout/tests/env/sandbox/control"
	"github.com/upcommerce/backout/tests/env/sandbox/inside"
)

// Program is a program to start in a cell.
type Program struct {
	Network  *Network
	Hostname string
	Tree     Tree
	// Args[0] is a path in the tree, or a name that is looked up in the PATH of Env.
	Args []string
	// Env is the whole environment.
	Env []string
	// Dir is the working directory in the tree; "": /.
	Dir string
	// Log receives standard output and error. It may be closed when Start has returned.
	Log *os.File
}

// Process is a process that runs, or has run, in a cell. It leads a process group, which ends with it.
type Process struct {
	supervisor *inside.Supervisor
	network    *Network
	mounts     *os.File
	root       *os.File
	id, pid    int
	done       chan struct{}
	exit       control.Exit // set before done is closed
}

// Start makes a tree and starts a program in it. It returns an error if the program cannot be executed.
func Start(s *inside.Supervisor, p Program) (*Process, error) {
	return onOwnThread(func() (*Process, error) {
		if err := enter(p.Network.namespace, unix.CLONE_NEWNET); err != nil {
			return nil, err
		}
		if err := unix.Unshare(unix.CLONE_NEWNS | unix.CLONE_NEWUTS); err != nil {
			return nil, fmt.Errorf("make a mount namespace: %w", err)
		}
		if err := unix.Sethostname([]byte(p.Hostname)); err != nil {
			return nil, fmt.Errorf("set the host name: %w", err)
		}
		if err := p.Tree.build(); err != nil {
			return nil, err
		}
		return p.launch(s)
	})
}

// launch starts the program from a thread inside the cell.
func (p Program) launch(s *inside.Supervisor) (_ *Process, err error) {
	started := &Process{supervisor: s, network: p.Network, done: make(chan struct{})}
	defer func() {
		if err != nil {
			started.close()
		}
	}()
	if started.mounts, err = openNamespace("mnt"); err != nil {
		return nil, err
	}
	root := p.Tree.root()
	if started.root, err = os.Open(root); err != nil {
		return nil, fmt.Errorf("open the root of a cell: %w", err)
	}
	path, err := lookPath(root, p.Args[0], p.Env)
	if err != nil {
		return nil, err
	}
	exit, err := started.spawn(path, p, &syscall.SysProcAttr{Setsid: true, Chroot: root})
	if err != nil {
		return nil, err
	}
	go started.await(exit)
	return started, nil
}

func (p *Process) spawn(path string, program Program, attributes *syscall.SysProcAttr) (<-chan control.Exit, error) {
	input, err := os.Open(os.DevNull)
	if err != nil {
		return nil, fmt.Errorf("open the program's input: %w", err)
	}
	defer func() { _ = input.Close() }()
	dir := program.Dir
	if dir == "" {
		dir = "/"
	}
	var exit <-chan control.Exit
	p.id, exit, err = p.supervisor.Spawn(func() (*os.Process, error) {
		process, err := os.StartProcess(path, program.Args, &os.ProcAttr{
			Dir: dir, Env: program.Env, Files: []*os.File{input, program.Log, program.Log}, Sys: attributes,
		})
		if err == nil {
			p.pid = process.Pid
		}
		return process, err
	})
	return exit, err
}

// await kills the rest of the process group when its leader has ended.
func (p *Process) await(exit <-chan control.Exit) {
	p.exit = <-exit
	_ = syscall.Kill(-p.pid, syscall.SIGKILL)
	p.close()
	close(p.done)
}

func (p *Process) close() {
	for _, f := range []*os.File{p.mounts, p.root} {
		if f != nil {
			_ = f.Close()
		}
	}
}

// Done is closed when the program has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exit is how the program ended. Call it only after Done is closed.
func (p *Process) Exit() control.Exit { return p.exit }

// Signal sends a signal to the program, not to its group. It returns nil if the program has ended.
func (p *Process) Signal(sig syscall.Signal) error {
	err := p.supervisor.Signal(control.Signal{ID: p.id, Number: int(sig)})
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal a program: %w", err)
	}
	return nil
}

// lookPath finds an executable in the tree below root, as a shell does.
func lookPath(root, name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	path := ""
	for _, e := range env {
		if value, ok := strings.CutPrefix(e, "PATH="); ok {
			path = value
		}
	}
	for _, dir := range filepath.SplitList(path) {
		candidate := filepath.Join(dir, name)
		info, err := os.Stat(filepath.Join(root, candidate))
		if err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return candidate, nil
		}
	}
	return "", fmt.Errorf("exec: %q: executable file not found in $PATH", name)
}
