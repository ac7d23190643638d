package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// KubernetesVersion is the version of Kubernetes that the control plane is built from and reports. It equals the requirement in
// go.mod.
const KubernetesVersion = "v1.37.2"

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
	root, err := repository()
	if err != nil {
		return "", err
	}
	bin := filepath.Join(root, "tests", ".bin")
	if err := os.MkdirAll(bin, 0o750); err != nil {
		return "", fmt.Errorf("make the directory for programs: %w", err)
	}
	path := filepath.Join(bin, b.Name)
	unlock, err := lock(ctx, path+".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if progress != nil {
		progress(buildStage(b.Name, path))
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-o", path, "-ldflags", b.LDFlags, "-tags", b.Tags, b.Package)
	cmd.Dir = filepath.Join(root, b.Module)
	cmd.Env = append(os.Environ(), "GOWORK=off")
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("build %s in %s: %w\n%s", b.Name, b.Module, errors.Join(ctx.Err(), err), output.Bytes())
	}
	return path, nil
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

// repository finds the root of this repository above the working directory, or above the running program.
func repository() (string, error) {
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
