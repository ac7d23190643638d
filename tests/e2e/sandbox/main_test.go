package sandbox_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/upcommerce/backout/tests/env/sandbox"
)

// role is the environment variable that makes the test binary a program that a test runs inside a sandbox, or kills.
const role = "SANDBOX_TEST_ROLE"

func TestMain(m *testing.M) {
	roles := map[string]func() error{
		"":        func() error { os.Exit(m.Run()); return nil },
		"holder":  holdUntilKilled,
		"webhook": serveWebhook,
		"exit":    func() error { os.Exit(7); return nil },
		"sleep":   func() error { time.Sleep(time.Hour); return nil },
		"refused": openWithoutUserNamespaces,
		"shop":    serveShop,
	}
	if err := roles[os.Getenv(role)](); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// self returns the test binary in a role.
func self(t *testing.T, name, as string, env ...string) sandbox.Process {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return sandbox.Process{Name: name, Path: path, Env: append(env, role+"="+as)}
}

// runSleeper runs a pod of the image example/sleeper, which does nothing, and returns when it runs.
func runSleeper(ctx context.Context, s *sandbox.Sandbox) error {
	client, err := kubernetes.NewForConfig(s.RESTConfig())
	if err != nil {
		return err
	}
	pods := client.CoreV1().Pods("default")
	_, err = pods.Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "sleeper"},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "sleeper", Image: "example/sleeper:v1", Env: []corev1.EnvVar{{Name: role, Value: "sleep"}},
		}}},
	}, metav1.CreateOptions{})
	if err != nil {
		return err
	}
	for {
		p, err := pods.Get(ctx, "sleeper", metav1.GetOptions{})
		if err != nil || p.Status.Phase == corev1.PodRunning {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// holdUntilKilled opens a sandbox with a program and a pod inside, writes its directory to standard output, and waits to be killed.
func holdUntilKilled() error {
	ctx := context.Background()
	path, err := os.Executable()
	if err != nil {
		return err
	}
	s, err := sandbox.Open(ctx, sandbox.Options{Images: map[string]string{"example/sleeper": path}})
	if err != nil {
		return err
	}
	if _, err := s.Run(ctx, sandbox.Process{Name: "sleep", Path: path, Env: []string{role + "=sleep"}}); err != nil {
		return err
	}
	if err := runSleeper(ctx, s); err != nil {
		return err
	}
	fmt.Println(s.Dir())
	time.Sleep(time.Hour)
	return s.Close()
}

// webhookAddress is serveWebhook's address inside.
const webhookAddress = sandbox.InnerAddress + ":8080"

// posted is a post that serveWebhook has received.
type posted struct {
	Authorization string
	Body          json.RawMessage
}

// serveWebhook stores every post, and returns all of them on GET.
func serveWebhook() error {
	var mu sync.Mutex
	received := []posted{}
	return http.ListenAndServe(webhookAddress, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if r.Method == http.MethodGet {
			_ = json.NewEncoder(w).Encode(received)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		received = append(received, posted{Authorization: r.Header.Get("Authorization"), Body: body})
	}))
}

// openWithoutUserNamespaces switches user namespaces off in its own user namespace, and tries to open a sandbox there.
func openWithoutUserNamespaces() error {
	if err := os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0); err != nil {
		return err
	}
	s, err := sandbox.Open(context.Background(), sandbox.Options{})
	if err != nil {
		return err
	}
	fmt.Println("opened")
	return s.Close()
}

// eventually repeats the check until it returns no error, and fails the test with the last one after a minute.
func eventually(t *testing.T, check func() error) {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("after a minute: %v", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// processesIn lists the processes in a PID namespace, as "pid command line".
func processesIn(t *testing.T, namespace string) []string {
	t.Helper()
	var found []string
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if ns, err := os.Readlink("/proc/" + e.Name() + "/ns/pid"); err == nil && ns == namespace {
			line, _ := os.ReadFile("/proc/" + e.Name() + "/cmdline")
			found = append(found, e.Name()+" "+strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}

// namespaceOf finds the PID namespace of the sandbox with this directory: its process 1 has the directory as last argument.
func namespaceOf(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		line, err := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		if err != nil || !strings.HasSuffix(string(line), "\x00"+dir+"\x00") {
			continue
		}
		if ns, err := os.Readlink("/proc/" + e.Name() + "/ns/pid"); err == nil {
			return ns
		}
	}
	t.Fatalf("no process of the sandbox in %s", dir)
	return ""
}
