package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// architectures are those of the nodes of kind and minikube.
func architectures() []string { return []string{"amd64", "arm64"} }

// compile writes the static program of s into dir and returns its path. The program depends on nothing of the machine but Go: no C compiler, no paths,
// no commit, none of the user's settings of Go.
func compile(ctx context.Context, root, arch, dir string, s Spec) (string, error) {
	if !slices.Contains(architectures(), arch) {
		return "", fmt.Errorf("architecture %q is not one of %v: ARCH=arm64 make images", arch, architectures())
	}
	program, err := filepath.Abs(filepath.Join(dir, s.Name))
	if err != nil {
		return "", err
	}
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-tags="+s.Tags, "-ldflags="+s.LDFlags, "-o", program, s.Package)
	build.Dir = root
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch, "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=", "GOEXPERIMENT=", "GOWORK=off", "GOTOOLCHAIN=auto")
	if out, err := build.CombinedOutput(); err != nil {
		if errors.Is(err, exec.ErrNotFound) {
			return "", fmt.Errorf("compile %s: %w; install the release of Go in go.mod", s.Package, err)
		}
		return "", fmt.Errorf("compile %s: %w\n%s", s.Package, err, bytes.TrimSpace(out))
	}
	return program, nil
}
