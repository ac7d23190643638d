package sandbox_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/upcommerce/backout/tests/env/programs"
	"github.com/upcommerce/backout/tests/env/sandbox"
	"github.com/upcommerce/backout/tests/env/sandbox/kept"
)

// keeper is a program sandbox keep, as make sandbox runs it.
type keeper struct {
	place   kept.Place
	program string
	cmd     *exec.Cmd
}

func startKeeper(t *testing.T) *keeper {
	t.Helper()
	program, err := programs.Build(t.Context(), programs.Sandbox(), nil)
	if err != nil {
		t.Fatal(err)
	}
	k := &keeper{place: kept.Place(filepath.Join(t.TempDir(), "kept")), program: program}
	k.cmd = exec.CommandContext(t.Context(), program, "keep", "-place", string(k.place))
	log := filepath.Join(t.TempDir(), "keeper.log")
	output, err := os.Create(log)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = output.Close() }()
	k.cmd.Stdout, k.cmd.Stderr = output, output
	if err := k.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		k.kill()
		if text, _ := os.ReadFile(log); t.Failed() {
			t.Logf("keeper: %s", text)
		}
	})
	return k
}

func (k *keeper) kill() {
	_ = k.cmd.Process.Signal(syscall.SIGKILL)
	_ = k.cmd.Wait()
}

// offer waits for a sandbox that can be taken, as long as one may take to open, and returns its directory.
func (k *keeper) offer(t *testing.T) string {
	t.Helper()
	deadline := time.After(3 * time.Minute)
	for {
		o, err := k.place.Read()
		if err == nil {
			return o.Dir
		}
		select {
		case <-deadline:
			t.Fatalf("the keeper offers no sandbox: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// A keeper has a sandbox ready, one test gets it, and the next test gets another one that is as new.
func TestKeptControlPlane(t *testing.T) {
	t.Parallel()
	k := startKeeper(t)
	first := k.offer(t)
	out, err := exec.CommandContext(t.Context(), k.program, "keep", "-place", string(k.place)).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "make sandbox runs already") {
		t.Errorf("a second keeper must end and say what to do: %v\n%s", err, out)
	}
	t.Run("a test takes it, with its images", func(t *testing.T) { takeOnce(t, k, first) })
	t.Run("until the next is taken, it is open", func(t *testing.T) { usedIsOpen(t, first) })
	second := k.offer(t)
	file := filepath.Join(string(k.place), "ready.json")
	stale, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Run("the next test takes a new one, and the used one is closed", func(t *testing.T) {
		s := takeAgain(t, k, first)
		k.kill()
		<-s.Done() // the test notices
	})
	t.Run("a keeper that was killed leaves nothing, and tests open their own", func(t *testing.T) {
		eventually(t, func() error { return mustBeGone(t, second) })
		if err := os.WriteFile(file, stale, 0o600); err != nil { // it could have been killed while this was there
			t.Fatal(err)
		}
		if s := sandbox.StartWith(t, sandbox.Options{Kept: k.place}); s.Dir() == second {
			t.Error("it must be a sandbox of its own")
		}
	})
}

func takeOnce(t *testing.T, k *keeper, dir string) {
	sleeper := self(t, "sleep", "sleep")
	s := sandbox.StartWith(t, sandbox.Options{Kept: k.place, Images: map[string]string{"example/sleeper": sleeper.Path}})
	if s.Dir() != dir {
		t.Fatalf("it must be the kept one in %s, not the one in %s", dir, s.Dir())
	}
	if _, err := sandbox.Take(t.Context(), "another test", sandbox.Options{Kept: k.place}); err == nil {
		t.Error("two tests have one sandbox")
	}
	child := run(t, s, sleeper)
	t.Cleanup(func() { // before StartWith closes it: what Close does is seen afterwards
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		<-child.Done()
		if _, err := s.Run(t.Context(), sleeper); err == nil {
			t.Error("a sandbox that was given back must refuse to run programs")
		}
	})
	if err := runSleeper(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "mine"}}
	must(t)(clientFor(t, s.RESTConfig()).CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{}))
}

// usedIsOpen checks what remains of takeOnce: its objects and its pod, but not its program.
func usedIsOpen(t *testing.T, dir string) {
	config, err := clientcmd.BuildConfigFromFlags("", sandbox.Layout{Dir: dir}.Kubeconfig())
	if err != nil {
		t.Fatal(err)
	}
	must(t)(clientFor(t, config).CoreV1().Namespaces().Get(t.Context(), "mine", metav1.GetOptions{}))
	if inside := processesIn(t, namespaceOf(t, dir)); len(inside) != 2 {
		t.Errorf("the control plane and the pod must be inside: %q", inside)
	}
}

func takeAgain(t *testing.T, k *keeper, used string) *sandbox.Sandbox {
	s := sandbox.StartWith(t, sandbox.Options{Kept: k.place})
	if s.Dir() == used {
		t.Fatal("two tests have one sandbox")
	}
	_, err := clientFor(t, s.RESTConfig()).CoreV1().Namespaces().Get(t.Context(), "mine", metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("a namespace of one test must not be in the sandbox of the next: %v", err)
	}
	settings, err := sandbox.Layout{Dir: s.Dir()}.ReadSettings()
	if err != nil || len(settings.Images) > 0 {
		t.Errorf("the images of one test must not be in the sandbox of the next: %v, %v", settings, err)
	}
	eventually(t, func() error { return mustBeGone(t, used) })
	return s
}

// mustBeGone returns an error while the sandbox in dir has a process or a file.
func mustBeGone(t *testing.T, dir string) error {
	t.Helper()
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("the directory of a sandbox is left: %s, %w", dir, err)
	}
	lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		if text, _ := os.ReadFile(line); strings.HasSuffix(string(text), "\x00"+dir+"\x00") {
			return fmt.Errorf("a process of the sandbox in %s is left", dir)
		}
	}
	return nil
}
