package sandbox_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/upcommerce/backout/tests/env/sandbox"
)

func TestParallelSandboxesAreIsolated(t *testing.T) {
	t.Parallel()
	var both [2]*sandbox.Sandbox
	var errs [2]error
	var wg sync.WaitGroup
	for i := range both {
		wg.Go(func() { both[i], errs[i] = sandbox.Open(t.Context(), sandbox.Options{}) })
	}
	wg.Wait()
	for i, s := range both {
		if errs[i] != nil {
			t.Fatal(errs[i])
		}
		defer func() { _ = s.Close() }()
	}
	namespaces := clientFor(t, both[0].RESTConfig()).CoreV1().Namespaces()
	_, err := namespaces.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "mine"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = clientFor(t, both[1].RESTConfig()).CoreV1().Namespaces().Get(t.Context(), "mine", metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("a namespace of one sandbox must not be in the other: %v", err)
	}
	// Programs in both can listen on the same port.
	for _, s := range both {
		run(t, s, self(t, "webhook", "webhook"))
		eventually(t, func() error {
			conn, err := s.Dial(t.Context(), webhookAddress)
			if err != nil {
				return err
			}
			return conn.Close()
		})
	}
	if err := both[0].Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := clientFor(t, both[1].RESTConfig()).Discovery().ServerVersion(); err != nil {
		t.Errorf("closing one sandbox must not end the other: %v", err)
	}
}

func TestCloseLeavesNothing(t *testing.T) {
	t.Parallel()
	sleeper := self(t, "sleep", "sleep")
	s, err := sandbox.Open(t.Context(), sandbox.Options{Images: map[string]string{"example/sleeper": sleeper.Path}})
	if err != nil {
		t.Fatal(err)
	}
	namespace := namespaceOf(t, s.Dir())
	child := run(t, s, sleeper)
	if err := runSleeper(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	for range 2 { // it may be closed twice
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if left := processesIn(t, namespace); len(left) > 0 {
		t.Errorf("these processes are left: %q", left)
	}
	if _, err := os.Stat(s.Dir()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its directory is left: %v", err)
	}
	<-child.Done()
	if child.Err() == nil {
		t.Error("a child that Close ended must have an error")
	}
	if _, err := s.Forward(t.Context(), webhookAddress); err == nil {
		t.Error("a closed sandbox must refuse to forward")
	}
}

func TestKilledHolderLeavesNothing(t *testing.T) {
	t.Parallel()
	p := self(t, "holder", "holder")
	cmd := exec.CommandContext(t.Context(), p.Path)
	cmd.Env = append(os.Environ(), p.Env...)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	dir := strings.TrimSpace(line)
	namespace := namespaceOf(t, dir)
	if n := len(processesIn(t, namespace)); n != 3 {
		t.Fatalf("%d processes are inside, want the control plane, one program and one pod", n)
	}
	if err := cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	eventually(t, func() error {
		if left := processesIn(t, namespace); len(left) > 0 {
			return fmt.Errorf("these processes are left: %q", left)
		}
		if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("its directory is left: %w", err)
		}
		return nil
	})
}

// Without user namespaces, a sandbox of root still opens; for other users the error says what to do.
func TestUserNamespacesSwitchedOff(t *testing.T) {
	t.Parallel()
	const capSysResource = 24 // to switch them off
	for _, c := range []struct {
		name string
		uid  int
		want []string
	}{
		{"root", 0, []string{"opened"}},
		{"a user", 1000, []string{"user.max_user_namespaces is 0", "sudo sysctl -w user.max_user_namespaces=", "minikube"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := self(t, "refused", "refused")
			cmd := exec.CommandContext(t.Context(), p.Path)
			cmd.Env = append(os.Environ(), p.Env...)
			cmd.SysProcAttr = &syscall.SysProcAttr{
				Cloneflags:  syscall.CLONE_NEWUSER,
				UidMappings: []syscall.SysProcIDMap{{ContainerID: c.uid, HostID: os.Geteuid(), Size: 1}},
				GidMappings: []syscall.SysProcIDMap{{ContainerID: c.uid, HostID: os.Getegid(), Size: 1}},
				AmbientCaps: []uintptr{capSysResource},
			}
			out, _ := cmd.CombinedOutput()
			for _, want := range c.want {
				if !strings.Contains(string(out), want) {
					t.Errorf("the output must contain %q: %s", want, out)
				}
			}
		})
	}
}
