// Package ledger tests rollback/ledger on a real API server, with replicas that are processes of their own.
package ledger_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/upcommerce/backout/rollback/ledger"
	"github.com/upcommerce/backout/tests/env/sandbox"
)

// role is the environment variable that makes the test binary a replica, with its name.
const role = "LEDGER_TEST_ROLE"

// patience bounds every wait. A wait ends as soon as its condition is true.
const patience = 30 * time.Second

// own is backout's own namespace in these tests.
const own = "backout"

func TestMain(m *testing.M) {
	if os.Getenv(role) == "" {
		os.Exit(m.Run())
	}
	if err := replicate(); err != nil {
		fmt.Println("ended", err)
		os.Exit(1)
	}
	fmt.Println("ended in order")
}

// replicate competes for the lease until SIGTERM. As the leader, it prints every 5 ms a write with the time before it checked that it may write.
func replicate() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	lease, err := ledger.NewLease(ledger.LeaseOptions{
		Client: client, Namespace: own, Identity: os.Getenv(role),
		Config: ledger.LeaseConfig{Duration: 6 * time.Second, Renew: 4 * time.Second, Retry: 500 * time.Millisecond}, // the defaults
	})
	if err != nil {
		return err
	}
	return lease.Run(ctx, func(ctx context.Context) {
		fmt.Println("leads", time.Now().UnixNano())
		for ctx.Err() == nil {
			checked := time.Now().UnixNano()
			if lease.Held() == nil {
				fmt.Println("writes", checked)
			}
			time.Sleep(5 * time.Millisecond)
		}
	})
}

// replica is a process that runs replicate.
type replica struct {
	name    string
	process *os.Process
	// led is closed when it leads, ended when the process is gone.
	led, ended chan struct{}

	mu     sync.Mutex
	since  time.Time
	writes []time.Time
	last   string
}

func compete(t *testing.T, s *sandbox.Sandbox, name string) *replica {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	command := exec.Command(path)
	command.Env = append(os.Environ(), role+"="+name, "KUBECONFIG="+s.Kubeconfig())
	command.Stderr = os.Stderr
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	r := &replica{name: name, process: command.Process, led: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			r.receive(lines.Text())
		}
		_ = command.Wait()
	}()
	t.Cleanup(func() {
		_ = r.process.Kill()
		<-r.ended
	})
	return r
}

func (r *replica) receive(line string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	word, rest, _ := strings.Cut(line, " ")
	nanos, _ := strconv.ParseInt(rest, 10, 64)
	switch at := time.Unix(0, nanos); word {
	case "leads":
		r.since = at
		close(r.led)
	case "writes":
		r.writes = append(r.writes, at)
	default:
		r.last = line
	}
}

// span returns when r began to lead, and its last write.
func (r *replica) span() (since, last time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	last = r.since
	if n := len(r.writes); n > 0 {
		last = r.writes[n-1]
	}
	return r.since, last
}

func (r *replica) signal(t *testing.T, s os.Signal) {
	t.Helper()
	if err := r.process.Signal(s); err != nil {
		t.Fatal(err)
	}
}

// await waits until a channel is closed.
func await(t *testing.T, what string, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatalf("not true after %s: %s", patience, what)
	}
}

// cluster opens a sandbox with namespaces.
func cluster(t *testing.T, namespaces ...string) (*sandbox.Sandbox, kubernetes.Interface) {
	t.Helper()
	s := sandbox.Start(t)
	client := clientFor(t, s.RESTConfig())
	for _, name := range namespaces {
		_, err := client.CoreV1().Namespaces().Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	return s, client
}

func clientFor(t *testing.T, config *rest.Config) kubernetes.Interface {
	t.Helper()
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}
