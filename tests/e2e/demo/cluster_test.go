// Package demo runs the program of make demo on a cluster that exists: a sandbox that the test
// holds open.
package demo

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/upcommerce/backout/tests/env/programs"
	"github.com/upcommerce/backout/tests/env/sandbox"
)

// patience bounds one run of the demo. A wait ends as soon as its condition is true.
const patience = 6 * time.Minute

// path builds a program, and returns its path.
func path(t *testing.T, b programs.Binary) string {
	t.Helper()
	built, err := programs.Build(t.Context(), b, func(text string) { t.Log(text) })
	if err != nil {
		t.Fatal(err)
	}
	return built
}

// cluster is a cluster that exists, with a release of another team.
type cluster struct {
	*sandbox.Sandbox
	client  kubernetes.Interface
	objects dynamic.Interface
	router  string
}

// hold opens a cluster with the images that the demo needs, and installs the other team's
// release.
func hold(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{Sandbox: sandbox.StartWith(t, sandbox.Options{Images: map[string]string{
		"backout": path(t, programs.Backout()), "storefront": path(t, programs.Storefront()),
		"quay.io/prometheus/prometheus":   path(t, programs.Prometheus()),
		"quay.io/prometheus/alertmanager": path(t, programs.Alertmanager()),
	}})}
	var errs [3]error
	c.client, errs[0] = kubernetes.NewForConfig(c.RESTConfig())
	c.objects, errs[1] = dynamic.NewForConfig(c.RESTConfig())
	c.router, errs[2] = c.RouterURL(t.Context())
	if err := errors.Join(errs[:]...); err != nil {
		t.Fatal(err)
	}
	chart := filepath.Join("..", "..", "..", "charts", "canary-demo")
	helm := exec.CommandContext(t.Context(), path(t, programs.Helm()), "install", "shop", chart, "--values", filepath.Join(chart, "values-storefront.yaml"),
		"--namespace", "another-team", "--create-namespace", "--wait", "--set", "replicaCount=1,ingress.host=shop.localhost")
	helm.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig())
	if out, err := helm.CombinedOutput(); err != nil {
		t.Fatalf("install the release of another team: %v\n%s", err, out)
	}
	return c
}

// makeNamespace makes a namespace, and waits until the control plane has made its own objects in it.
func (c *cluster) makeNamespace(t *testing.T, name string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := c.client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for {
		_, account := c.client.CoreV1().ServiceAccounts(name).Get(ctx, "default", metav1.GetOptions{})
		_, certificate := c.client.CoreV1().ConfigMaps(name).Get(ctx, "kube-root-ca.crt", metav1.GetOptions{})
		err := errors.Join(account, certificate)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("namespace %s lacks the objects of a new namespace: %v", name, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// snapshot returns every object without its status, by kind, namespace and name. It leaves
// out the kinds that the control plane keeps writing.
func (c *cluster) snapshot(t *testing.T) map[string]string {
	t.Helper()
	lists, err := discovery.ServerPreferredResources(c.client.Discovery())
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, list := range lists {
		group, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list.APIResources {
			if !slices.Contains(r.Verbs, "list") || slices.Contains([]string{"Event", "Lease", "Endpoints", "EndpointSlice", "ComponentStatus"}, r.Kind) {
				continue
			}
			found, err := c.objects.Resource(group.WithResource(r.Name)).List(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Fatalf("list %s: %v", r.Name, err)
			}
			for _, o := range found.Items {
				o.SetManagedFields(nil)
				o.SetResourceVersion("")
				delete(o.Object, "status")
				text, err := json.Marshal(o.Object)
				if err != nil {
					t.Fatal(err)
				}
				all[strings.Join([]string{r.Name, o.GetNamespace(), o.GetName()}, "/")] = string(text)
			}
		}
	}
	return all
}

// unchanged fails the test for every object that has come, gone or changed.
func (c *cluster) unchanged(t *testing.T, before map[string]string) {
	t.Helper()
	after := c.snapshot(t)
	names := maps.Clone(before)
	maps.Copy(names, after)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if before[name] != after[name] {
			t.Errorf("the demo has changed %s. Before: %s. After: %s", name, cmp.Or(before[name], "not there"), cmp.Or(after[name], "not there"))
		}
	}
}

// namespaces returns those of the demo.
func (c *cluster) namespaces(t *testing.T) []string {
	t.Helper()
	list, err := c.client.CoreV1().Namespaces().List(t.Context(), metav1.ListOptions{LabelSelector: "backout.dev/demo=true"})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, n := range list.Items {
		names = append(names, n.Name)
	}
	return names
}

// run is a run of the demo.
type run struct {
	cmd *exec.Cmd
	mu  sync.Mutex
	out strings.Builder
	// cue is the text on which the demo gets a signal, as from Ctrl-C; "": none.
	cue string
}

// play runs the demo with arguments and variables, and returns its exit code and output.
// On the cue it interrupts the demo.
func play(t *testing.T, cue string, env []string, args ...string) (int, string) {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), patience, fmt.Errorf("it took longer than %s", patience))
	defer cancel()
	r := &run{cue: cue, cmd: exec.CommandContext(ctx, path(t, programs.Demo()), args...)}
	r.cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "KEEP=") || strings.HasPrefix(v, "ROUTER=") }), env...)
	r.cmd.Stdout, r.cmd.Stderr = r, r
	// An interrupted demo cleans up.
	r.cmd.Cancel = func() error { return r.cmd.Process.Signal(syscall.SIGINT) }
	r.cmd.WaitDelay = time.Minute
	err := r.cmd.Run()
	text := r.out.String()
	t.Logf("demo %s: %v\n%s", strings.Join(args, " "), err, text)
	var exit *exec.ExitError
	if cause := context.Cause(ctx); cause != nil || err != nil && !errors.As(err, &exit) {
		t.Fatal(errors.Join(err, cause))
	}
	return r.cmd.ProcessState.ExitCode(), text
}

// Write stores the output.
func (r *run) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, err := r.out.Write(b)
	if r.cue != "" && strings.Contains(r.out.String(), r.cue) {
		r.cue = ""
		err = errors.Join(err, r.cmd.Process.Signal(syscall.SIGINT))
	}
	return n, err
}

var _ io.Writer = (*run)(nil)

// on returns the environment of a demo on the cluster.
func (c *cluster) on(more ...string) []string {
	return append(more, "KUBECONFIG="+c.Kubeconfig(), "ROUTER="+c.router)
}

// contains fails the test unless the text contains the parts in this order.
func contains(t *testing.T, text string, parts ...string) {
	t.Helper()
	rest := text
	for _, part := range parts {
		_, after, ok := strings.Cut(rest, part)
		if !ok {
			t.Errorf("the demo does not print %q where it should", part)
			return
		}
		rest = after
	}
}
