package sandbox_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/upcommerce/backout/tests/env/sandbox"
)

// The error of a sandbox that cannot be opened contains the control plane's log, and nothing is left behind.
func TestOpenReportsTheCause(t *testing.T) {
	for _, c := range []struct {
		name, script string
		want         string
		namespaces   bool
	}{
		{"the program dies", "echo etcd is unwell >&2; exit 1", "it ended while it started\n  the log:\n    etcd is unwell", false},
		{"a component ends", `echo '{"error":"run kube-apiserver: no"}'; cat`, "run kube-apiserver: no", false},
		{"the kernel refuses the set-up of the namespaces", `echo '{"error":"add bridge: no","refused":true}'; cat`, "minikube", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			program, temporary := script(t, c.script), ownTemporary(t)
			_, err := sandbox.Open(t.Context(), sandbox.Options{Program: program})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error must contain %q: %v", c.want, err)
			}
			if errors.Is(err, sandbox.ErrNamespaces) != c.namespaces {
				t.Errorf("is an ErrNamespaces: want %t, got %v", c.namespaces, err)
			}
			mustBeEmpty(t, temporary)
		})
	}
}

func TestOpenCanBeCancelled(t *testing.T) {
	program, temporary := script(t, `echo '{"stage":"etcd"}'; cat`), ownTemporary(t)
	ctx, cancel := context.WithCancel(t.Context())
	begun := func(string) { cancel() }
	start := time.Now()
	_, err := sandbox.Open(ctx, sandbox.Options{Program: program, Progress: begun})
	if !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "log") {
		t.Errorf("want a cancellation, without a log, got %v", err)
	}
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the cancellation took %s", took)
	}
	mustBeEmpty(t, temporary)
}

func TestOpenNeedsAShortDirectory(t *testing.T) {
	long := filepath.Join(ownTemporary(t), strings.Repeat("long", 25))
	if err := os.Mkdir(long, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", long)
	_, err := sandbox.Open(t.Context(), sandbox.Options{Program: "/bin/true"})
	if err == nil || !strings.Contains(err.Error(), "set TMPDIR=/tmp") {
		t.Errorf("the error must say what to do: %v", err)
	}
	mustBeEmpty(t, long)
}

// script makes a shell script that replaces the sandbox program.
func script(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+text+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	return path
}

// ownTemporary sets TMPDIR to a directory of this test, where its sandboxes make theirs.
func ownTemporary(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "") //nolint:usetesting // t.TempDir's path is too long for a socket in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	t.Setenv("TMPDIR", dir)
	return dir
}

func mustBeEmpty(t *testing.T, dir string) {
	t.Helper()
	left, err := os.ReadDir(dir)
	if err != nil || len(left) > 0 {
		t.Errorf("these files are left: %v (%v)", left, err)
	}
}

func TestOpenRefusesImagesWithoutAProgram(t *testing.T) {
	temporary := ownTemporary(t)
	_, err := sandbox.Open(t.Context(), sandbox.Options{Program: "/bin/true", Images: map[string]string{
		"example/relative": "shop", "example/missing": "/no/such/program", "example/directory": "/etc",
	}})
	for _, want := range []string{"shop is not absolute", "/no/such/program: no such file", "/etc is not an executable"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error must contain %q: %v", want, err)
		}
	}
	mustBeEmpty(t, temporary)
}
