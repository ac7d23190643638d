package sandbox_test

import (
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/upcommerce/backout/tests/env/sandbox"
)

func TestChildren(t *testing.T) {
	t.Parallel()
	s := sandbox.Start(t)
	t.Run("an exit code is reported", func(t *testing.T) {
		c := run(t, s, self(t, "seven", "exit"))
		<-c.Done()
		var exit *sandbox.ExitError
		if !errors.As(c.Err(), &exit) || exit.Code != 7 {
			t.Errorf("it ended with code 7, got %v", c.Err())
		}
	})
	t.Run("a signal is delivered, and reported as the end", func(t *testing.T) {
		c := run(t, s, self(t, "sleep", "sleep"))
		if err := c.Signal(syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		<-c.Done()
		var exit *sandbox.ExitError
		if !errors.As(c.Err(), &exit) || exit.Signal != "killed" {
			t.Errorf("it was killed, got %v", c.Err())
		}
		if err := c.Signal(syscall.SIGTERM); err == nil {
			t.Error("a signal to a program that has ended must be an error")
		}
	})
	t.Run("a frozen program answers again when it continues", func(t *testing.T) { freeze(t, s) })
	t.Run("the log has the output, and the environment is the given one", func(t *testing.T) {
		c := run(t, s, sandbox.Process{Name: "env", Path: "/bin/sh", Args: []string{"-c", "env; echo fault >&2"}, Env: []string{"FRUIT=plum"}})
		<-c.Done()
		log, err := os.ReadFile(c.Log())
		if err != nil || c.Err() != nil {
			t.Fatal(err, c.Err())
		}
		if got := string(log); !strings.Contains(got, "FRUIT=plum\n") || !strings.Contains(got, "fault\n") || strings.Contains(got, "HOME=") {
			t.Errorf("the log must contain FRUIT=plum and fault, and no HOME: %s", got)
		}
	})
	t.Run("a missing program is an error", func(t *testing.T) {
		if _, err := s.Run(t.Context(), sandbox.Process{Name: "none", Path: "/no/such/program"}); !strings.Contains(err.Error(), "no such file") {
			t.Errorf("want the error no such file, got %v", err)
		}
	})
	t.Run("a name cannot leave the directory", func(t *testing.T) {
		if _, err := s.Run(t.Context(), sandbox.Process{Name: "../up", Path: "/bin/true"}); err == nil {
			t.Error("the name ../up was accepted")
		}
	})
	t.Run("orphans are collected", func(t *testing.T) {
		c := run(t, s, sandbox.Process{Name: "orphan", Path: "/bin/sh", Args: []string{"-c", "/bin/true & exit 0"}})
		<-c.Done()
		eventually(t, func() error { return noZombie(t, s) })
	})
}

func run(t *testing.T, s *sandbox.Sandbox, p sandbox.Process) *sandbox.Child {
	t.Helper()
	c, err := s.Run(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func freeze(t *testing.T, s *sandbox.Sandbox) {
	c := run(t, s, self(t, "webhook", "webhook"))
	host, err := s.Forward(t.Context(), webhookAddress)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := s.Forward(t.Context(), webhookAddress); err != nil || again != host {
		t.Errorf("a second forward to the same address is %s (%v), want %s", again, err, host)
	}
	client := http.Client{Timeout: 200 * time.Millisecond, Transport: &http.Transport{DisableKeepAlives: true}}
	get := func() error {
		r, err := client.Get("http://" + host)
		if err != nil {
			return err
		}
		defer func() { _ = r.Body.Close() }()
		_, err = io.Copy(io.Discard, r.Body)
		return err
	}
	eventually(t, get)
	if err := c.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if get() == nil {
			return errors.New("the frozen program answers")
		}
		return nil
	})
	if err := c.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, get)
	if err := c.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-c.Done()
}

// noZombie returns nil if no process inside is a zombie.
func noZombie(t *testing.T, s *sandbox.Sandbox) error {
	for _, p := range processesIn(t, namespaceOf(t, s.Dir())) {
		pid, _, _ := strings.Cut(p, " ")
		b, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
		if err == nil && strings.Contains(string(b), ") Z ") {
			return errors.New("there is a zombie: " + p)
		}
	}
	return nil
}
