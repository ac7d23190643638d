package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"syscall"
	"time"

	"github.com/upcommerce/backout/tests/env/sandbox/control"
)

// Process is a program to run inside.
type Process struct {
	// Name is for messages and for the log's path: lower case letters, digits and dashes. Several may have the same.
	Name string
	// Path is the program's absolute path.
	Path string
	Args []string
	// Env is the whole environment.
	Env []string
}

// Child is a program that runs, or has run, inside.
type Child struct {
	name, log string
	id        int
	control   control.Client
	done      chan struct{}
	err       error // set before done is closed
}

// ExitError is the error of a Child that did not end with exit code 0.
type ExitError struct {
	Name string
	// Code is the exit code, -1 after a signal.
	Code int
	// Signal is the signal's description, "killed", or "".
	Signal string
}

// Error names the program and its exit code or signal.
func (e *ExitError) Error() string {
	if e.Signal != "" {
		return fmt.Sprintf("%s ended by a signal: %s", e.Name, e.Signal)
	}
	return fmt.Sprintf("%s ended with exit code %d", e.Name, e.Code)
}

// Run starts a program inside, in a directory of its own below Dir. ctx bounds the start only: the program runs until it ends,
// is sent a signal, or the sandbox is closed.
func (s *Sandbox) Run(ctx context.Context, p Process) (*Child, error) {
	if !regexp.MustCompile(`^[a-z0-9][a-z0-9-]*$`).MatchString(p.Name) {
		return nil, fmt.Errorf("run %q inside the sandbox: a name is made of lower case letters, digits and dashes", p.Name)
	}
	dir, err := s.childDir(p.Name)
	if err != nil {
		return nil, err
	}
	c := &Child{name: p.Name, log: filepath.Join(dir, "log"), control: s.control, done: make(chan struct{})}
	id, exit, err := s.control.Run(ctx, control.Program{Path: p.Path, Args: p.Args, Env: p.Env, Dir: dir, Log: c.log})
	if err != nil {
		return nil, err
	}
	c.id = id
	go c.wait(exit)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.children = append(s.children, c)
	return c, nil
}

// childDir makes a directory for a child: run/name, run/name-2 for the second of that name. In a closed sandbox it returns an
// error.
func (s *Sandbox) childDir(name string) (string, error) {
	if s.forwards.areClosed() {
		return "", fmt.Errorf("make a directory for %s: %w", name, errClosed)
	}
	dir := filepath.Join(s.layout.Children(), name)
	err := os.Mkdir(dir, 0o700)
	for n := 2; errors.Is(err, fs.ErrExist); n++ {
		dir = filepath.Join(s.layout.Children(), name+"-"+strconv.Itoa(n))
		err = os.Mkdir(dir, 0o700)
	}
	if err != nil {
		return "", fmt.Errorf("make a directory for %s: %w", name, err)
	}
	return dir, nil
}

func (c *Child) wait(exit <-chan control.Exit) {
	defer close(c.done)
	switch e, ok := <-exit; {
	case !ok:
		c.err = fmt.Errorf("wait for %s: %w", c.name, errClosed)
	case e.Code != 0:
		c.err = &ExitError{Name: c.name, Code: e.Code, Signal: e.Signal}
	}
}

// Signal sends a signal; sig must be a syscall.Signal. It returns an error if the program has ended.
func (c *Child) Signal(sig os.Signal) error {
	number, ok := sig.(syscall.Signal)
	if !ok {
		return fmt.Errorf("signal %s: %v is not a signal of this system", c.name, sig)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := c.control.Signal(ctx, control.Signal{ID: c.id, Number: int(number)}); err != nil {
		return fmt.Errorf("signal %s: %w", c.name, err)
	}
	return nil
}

// Done is closed when the program has ended.
func (c *Child) Done() <-chan struct{} { return c.done }

// Err is nil while the program runs and after exit code 0. Otherwise it is an *ExitError, or says that the sandbox was closed.
func (c *Child) Err() error {
	select {
	case <-c.done:
		return c.err
	default:
		return nil
	}
}

// Log is the path of the program's standard output and error.
func (c *Child) Log() string { return c.log }
