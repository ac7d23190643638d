package inside

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"syscall"

	"github.com/upcommerce/backout/tests/env/sandbox/control"
)

// Supervisor starts programs and waits for every child of the process, because process 1 of a namespace inherits orphans and
// must collect them. Nothing else in the process may start programs: the supervisor would collect their exits.
type Supervisor struct {
	mu      sync.Mutex
	last    int
	running map[int]running // by process ID
	started map[int]bool    // by ID: the programs of Start, as opposed to those of Spawn
}

type running struct {
	id   int
	exit chan control.Exit
}

// NewSupervisor returns a supervisor that has started nothing. Exits are reported only while its Run runs.
func NewSupervisor() *Supervisor {
	return &Supervisor{running: map[int]running{}, started: map[int]bool{}}
}

// Run collects children that have ended until ctx ends.
func (s *Supervisor) Run(ctx context.Context) {
	// Signals coalesce, so one may be for any number of children.
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	defer signal.Stop(ended)
	for s.collect(); ; s.collect() {
		select {
		case <-ended:
		case <-ctx.Done():
			return
		}
	}
}

// collect collects all children that have ended. The lock prevents a new child from getting the process ID of one that has ended
// before that one is removed from the map.
func (s *Supervisor) collect() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil)
		if errors.Is(err, syscall.EINTR) {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		if r, ours := s.running[pid]; ours {
			delete(s.running, pid)
			delete(s.started, r.id)
			r.exit <- exitOf(status)
		}
	}
}

func exitOf(status syscall.WaitStatus) control.Exit {
	if status.Signaled() {
		return control.Exit{Code: -1, Signal: status.Signal().String(), Number: int(status.Signal())}
	}
	return control.Exit{Code: status.ExitStatus()}
}

// Start starts a program and returns its ID, which is never used again, and a channel that yields its exit once.
func (s *Supervisor) Start(p control.Program) (int, <-chan control.Exit, error) {
	input, err := os.Open(os.DevNull)
	if err != nil {
		return 0, nil, fmt.Errorf("open the program's input: %w", err)
	}
	defer func() { _ = input.Close() }()
	output, err := os.OpenFile(p.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return 0, nil, fmt.Errorf("open the program's log: %w", err)
	}
	defer func() { _ = output.Close() }()

	s.mu.Lock()
	defer s.mu.Unlock()
	id, exit, err := s.spawn(func() (*os.Process, error) {
		return os.StartProcess(p.Path, append([]string{p.Path}, p.Args...), &os.ProcAttr{
			Dir:   p.Dir,
			Env:   p.Env,
			Files: []*os.File{input, output, output},
		})
	})
	if err == nil {
		s.started[id] = true
	}
	return id, exit, err
}

// Spawn is Start for a child that the function start creates. start runs on the caller's thread, and should be short: until it
// returns, no other program is started or collected.
func (s *Supervisor) Spawn(start func() (*os.Process, error)) (int, <-chan control.Exit, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.spawn(start)
}

// spawn is Spawn with the lock held.
func (s *Supervisor) spawn(start func() (*os.Process, error)) (int, <-chan control.Exit, error) {
	process, err := start()
	if err != nil {
		return 0, nil, err
	}
	s.last++
	r := running{id: s.last, exit: make(chan control.Exit, 1)}
	s.running[process.Pid] = r
	if err := process.Release(); err != nil {
		return 0, nil, fmt.Errorf("release the handle of a program: %w", err)
	}
	return r.id, r.exit, nil
}

// Signal sends a signal to a program that Start started. It returns an error if the program has ended.
func (s *Supervisor) Signal(sig control.Signal) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for pid, r := range s.running {
		if r.id == sig.ID {
			return syscall.Kill(pid, syscall.Signal(sig.Number))
		}
	}
	return os.ErrProcessDone
}

// Kill kills all programs that Start started. Their exits are reported as always.
func (s *Supervisor) Kill() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for pid, r := range s.running {
		if s.started[r.id] {
			errs = append(errs, syscall.Kill(pid, syscall.SIGKILL))
		}
	}
	return errors.Join(errs...)
}
