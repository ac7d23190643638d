// Package traffic tests the routers on a real API server, with the definitions that the
// routers' authors publish: every valid form of weights, and the other clients that write
// the same objects.
package traffic

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/traffic"
	"github.com/upcommerce/backout/tests/env/programs"
	"github.com/upcommerce/backout/tests/env/sandbox"
)

// role is the environment variable that makes the test binary the program of a pod.
const role = "TRAFFIC_TEST_ROLE"

// podImage is the image of pods that do nothing and are ready at once.
const podImage = "example/sleeper"

func TestMain(m *testing.M) {
	if os.Getenv(role) == "sleep" {
		time.Sleep(time.Hour)
		return
	}
	os.Exit(m.Run())
}

// cluster is a sandbox with the definitions of all routers.
type cluster struct {
	*sandbox.Sandbox
	client  kubernetes.Interface
	objects dynamic.Interface
	router  *traffic.Router
	helm    string
	spaces  int
}

func openCluster(t *testing.T) *cluster {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	helm, err := programs.Build(t.Context(), programs.Helm(), nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{Sandbox: sandbox.StartWith(t, sandbox.Options{Images: map[string]string{podImage: self}}), helm: helm}
	if c.client, err = kubernetes.NewForConfig(c.RESTConfig()); err != nil {
		t.Fatal(err)
	}
	if c.objects, err = dynamic.NewForConfig(c.RESTConfig()); err != nil {
		t.Fatal(err)
	}
	if c.router, err = traffic.New(traffic.Options{Config: c.RESTConfig()}); err != nil {
		t.Fatal(err)
	}
	c.define(t)
	return c
}

// place is a namespace with one release, and the shape of its route.
type place struct {
	*cluster
	shape shape
	key   rollback.Key
}

// place returns a place with a new namespace.
func (c *cluster) place(t *testing.T, s shape) place {
	t.Helper()
	c.spaces++
	name := fmt.Sprintf("shop-%d", c.spaces)
	if _, err := c.client.CoreV1().Namespaces().Create(t.Context(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return place{cluster: c, shape: s, key: rollback.Key{Namespace: name, Release: "shop"}}
}

// decode returns the objects of a stream of YAML documents.
func decode(t *testing.T, text string) rollback.Manifest {
	t.Helper()
	var m rollback.Manifest
	for document := range strings.SplitSeq(text, "\n---\n") {
		var o rollback.Object
		if err := yaml.Unmarshal([]byte(document), &o); err != nil {
			t.Fatalf("%v in:\n%s", err, document)
		}
		if len(o) > 0 {
			m = append(m, o)
		}
	}
	return m
}

// resource returns a client for objects of the kind in the place's namespace.
func (p place) resource(o *unstructured.Unstructured) dynamic.ResourceInterface {
	plural := strings.ToLower(o.GetKind()) + "s"
	if suffix, irregular := map[string]string{"Ingress": "ingresses", "HTTPProxy": "httpproxies"}[o.GetKind()]; irregular {
		plural = suffix
	}
	return p.objects.Resource(o.GroupVersionKind().GroupVersion().WithResource(plural)).Namespace(p.key.Namespace)
}

// apply applies the objects server-side, as Helm 4 does, without force.
func (p place) apply(t *testing.T, text string) error {
	t.Helper()
	for _, object := range decode(t, text) {
		o := &unstructured.Unstructured{Object: object}
		body, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.resource(o).Patch(t.Context(), o.GetName(), "application/apply-patch+yaml", body,
			metav1.PatchOptions{FieldManager: "helm"}); err != nil {
			return err
		}
	}
	return nil
}

// must applies the objects and ends the test if that fails.
func (p place) must(t *testing.T, text string) {
	t.Helper()
	if err := p.apply(t, text); err != nil {
		t.Fatal(err)
	}
}

// live returns the live object with the kind and name of the first document of a
// form.
func (p place) live(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{Object: decode(t, text)[0]}
	found, err := p.resource(o).Get(t.Context(), o.GetName(), metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// run runs the helm program, and ends the test with its output if that fails.
func (p place) run(t *testing.T, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), p.helm, append(args, "--namespace", p.key.Namespace)...)
	home := filepath.Join(p.Dir(), "helm")
	cmd.Env = []string{
		"KUBECONFIG=" + p.Kubeconfig(), "HOME=" + home, "HELM_CACHE_HOME=" + home, "HELM_CONFIG_HOME=" + home, "HELM_DATA_HOME=" + home,
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("helm %s: %v\n%s", strings.Join(args, " "), err, out.String())
	}
}

// upgrade makes the release's next revision of the manifest with helm.
func (p place) upgrade(t *testing.T, manifest string) {
	t.Helper()
	chart := t.TempDir()
	for name, text := range map[string]string{
		"Chart.yaml":         "apiVersion: v2\nname: shop\nversion: 1.0.0\n",
		"templates/all.yaml": manifest,
	} {
		path := filepath.Join(chart, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p.run(t, "upgrade", "--install", p.key.Release, chart)
}

// eventually polls until the condition is true.
func eventually(ctx context.Context, t *testing.T, what string, condition func(ctx context.Context) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for !condition(ctx) {
		select {
		case <-ctx.Done():
			t.Fatalf("not true after a minute: %s", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
