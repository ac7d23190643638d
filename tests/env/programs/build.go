// Package programs lists the programs that the tests and the demo run, and builds them. It imports the standard library alone: the
// program that shows progress while everything else is compiled has to be there within seconds.
package programs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// Binary is a program of this repository, or one that a module of this repository pins.
type Binary struct {
	// Name is the executable's file name.
	Name string
	// Module is the directory of the Go module to build in, relative to the repository's root: "tests".
	Module string
	// Package is the package to build, as go build takes it: "./env/cmd/sandbox".
	Package string
	// LDFlags go to the linker.
	LDFlags string
	// Tags are build tags, with commas between them.
	Tags string
}

// Build builds a program into tests/.bin with the Go toolchain's cache and returns its absolute path. Processes that build the
// same program wait for each other. It uses the caller's Go environment, including CGO_ENABLED: with a different one everything
// would be compiled twice. A nil progress is silent.
func Build(ctx context.Context, b Binary, progress func(string)) (string, error) {
	path, unlock, err := b.place(ctx)
	if err != nil {
		return "", err
	}
	defer unlock()
	if current(path) { // asked with the lock: it is no half of a program
		return path, nil
	}
	if progress != nil {
		progress(buildStage(b.Name, path))
	}
	cmd := b.command(ctx, path)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("build %s in %s: %w\n%s", b.Name, b.Module, errors.Join(ctx.Err(), err), output.Bytes())
	}
	return path, nil
}

// Current is the environment variable with a time, in RFC 3339 with nanoseconds: programs that were built later are up to date, and
// Build does not ask the go command again.
const Current = "PROGRAMS_CURRENT"

// current reports whether the file is a program that is known to be up to date.
func current(path string) bool {
	since, err := time.Parse(time.RFC3339Nano, os.Getenv(Current))
	if err != nil {
		return false
	}
	info, err := os.Stat(path)
	return err == nil && !info.ModTime().Before(since)
}

// Path returns the path of the program, whether or not it is built.
func Path(b Binary) (string, error) {
	root, err := Repository()
	if err != nil {
		return "", err
	}
	return filepath.Join(root, "tests", ".bin", b.Name), nil
}

// place returns the program's path and takes its lock.
func (b Binary) place(ctx context.Context) (path string, unlock func(), err error) {
	if path, err = Path(b); err != nil {
		return "", nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return "", nil, fmt.Errorf("make the directory for programs: %w", err)
	}
	unlock, err = lock(ctx, path+".lock")
	return path, unlock, err
}

// command is go build for the program with that path. Extra arguments come before the package.
func (b Binary) command(ctx context.Context, path string, extra ...string) *exec.Cmd {
	args := append([]string{"build", "-buildvcs=false", "-o", path, "-ldflags", b.LDFlags, "-tags", b.Tags}, extra...)
	cmd := exec.CommandContext(ctx, "go", append(args, b.Package)...)
	cmd.Dir = filepath.Join(filepath.Dir(path), "..", "..", b.Module)
	cmd.Env = environment()
	return cmd
}

// fewProcessors is how many compilers may have two gigabytes each.
const fewProcessors = 4

// environment is that of go commands. A compiler works on one package and ends: without garbage collection below two gigabytes it
// takes a tenth less processor time.
func environment() []string {
	env := append(os.Environ(), "GOWORK=off")
	if runtime.NumCPU() <= fewProcessors && os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		env = append(env, "GOGC=off", "GOMEMLIMIT=2GiB")
	}
	return env
}

func buildStage(name, path string) string {
	if _, err := os.Stat(path); err != nil {
		return "building " + name + " (the first time takes minutes)"
	}
	return "building " + name
}

// lock takes a lock file that processes share. The kernel releases it when its holder dies.
func lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock file: %w", err)
	}
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			_ = f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		select {
		case <-ctx.Done():
			_ = f.Close()
			return nil, fmt.Errorf("wait for another build (lock %s): %w", path, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// Repository finds the root of this repository above the working directory, or above the running program.
func Repository() (string, error) {
	var starts []string
	if wd, err := os.Getwd(); err == nil {
		starts = append(starts, wd)
	}
	if self, err := os.Executable(); err == nil {
		starts = append(starts, filepath.Dir(self))
	}
	for _, dir := range starts {
		for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
			b, err := os.ReadFile(filepath.Join(dir, "tests", "go.mod"))
			if err == nil && bytes.HasPrefix(b, []byte("module github.com/upcommerce/backout/tests\n")) {
				return dir, nil
			}
		}
	}
	return "", errors.New("find the source of backout: not at or above the working directory; run this inside a checkout")
}
