// Package helm tests rollback/helm on a real API server: the live objects after a
// rollback, wherever it is interrupted, and the preflight. The real helm program installs
// the releases.
package helm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/helm"
	"github.com/upcommerce/backout/tests/env/programs"
	"github.com/upcommerce/backout/tests/env/sandbox"
)

// release is the name of every release of these tests; each has a namespace of
// its own.
const release = "web"

// cluster is a sandbox with clients.
type cluster struct {
	*sandbox.Sandbox
	client  kubernetes.Interface
	objects dynamic.Interface
	mapper  *restmapper.DeferredDiscoveryRESTMapper
	program string
}

func openCluster(t *testing.T) *cluster {
	t.Helper()
	program, err := programs.Build(t.Context(), programs.Helm(), nil)
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{Sandbox: sandbox.Start(t), program: program}
	if c.client, err = kubernetes.NewForConfig(c.RESTConfig()); err != nil {
		t.Fatal(err)
	}
	if c.objects, err = dynamic.NewForConfig(c.RESTConfig()); err != nil {
		t.Fatal(err)
	}
	c.mapper = restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(c.client.Discovery()))
	return c
}

// helmClient returns the client under test. Fence may be nil; as is the user whose rights
// it has, "" is the admin.
func (c *cluster) helmClient(t *testing.T, fence func() error, as string) *helm.Client {
	t.Helper()
	config := c.RESTConfig()
	if as != "" {
		config.Impersonate = rest.ImpersonationConfig{UserName: as}
	}
	client, err := helm.New(helm.Options{Config: config, Log: slog.New(slog.DiscardHandler), Fence: fence})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Warm(t.Context()); err != nil {
		t.Fatal(err)
	}
	return client
}

// budget is a fence that allows a number of writes, and refuses all others.
type budget struct{ left, checked atomic.Int64 }

var (
	errSpent       = errors.New("the lease is gone")
	errStillServed = errors.New("the kind is still served")
)

func (b *budget) fence() error {
	b.checked.Add(1)
	if b.left.Add(-1) < 0 {
		return errSpent
	}
	return nil
}

func (b *budget) set(n int64) { b.left.Store(n); b.checked.Store(0) }

// plenty is a budget that no rollback uses up.
const plenty = 1 << 30

// upgrade makes the release's next revision of the manifest with the helm program.
func (c *cluster) upgrade(t *testing.T, namespace, manifest string) {
	t.Helper()
	chart := t.TempDir()
	for name, text := range map[string]string{
		"Chart.yaml":         "apiVersion: v2\nname: web-chart\nversion: 1.0.0\n",
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
	cmd := exec.CommandContext(t.Context(), c.program, "upgrade", "--install", release, chart, "--namespace", namespace, "--create-namespace")
	home := filepath.Join(c.Dir(), "helm")
	cmd.Env = []string{
		"KUBECONFIG=" + c.Kubeconfig(), "HOME=" + home, "HELM_CACHE_HOME=" + home, "HELM_CONFIG_HOME=" + home, "HELM_DATA_HOME=" + home,
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("helm upgrade: %v\n%s", err, out.String())
	}
}

// plan returns a plan from the newest revision to target.
func plan(t *testing.T, helmClient *helm.Client, namespace string, target int) rollback.Plan {
	t.Helper()
	history := historyOf(t, helmClient, namespace)
	return rollback.Plan{
		Key: rollback.Key{Namespace: namespace, Release: release}, HookTimeout: time.Minute,
		Suspect: history.Newest(), Newest: history.Newest(), Target: target,
	}
}

func historyOf(t *testing.T, helmClient *helm.Client, namespace string) rollback.History {
	t.Helper()
	history, err := helmClient.History(t.Context(), rollback.Key{Namespace: namespace, Release: release}, rollback.Stored)
	if err != nil {
		t.Fatal(err)
	}
	return history
}

// decode returns the objects of a manifest, in the release's namespace.
func decode(t *testing.T, manifest string) []*unstructured.Unstructured {
	t.Helper()
	var all []*unstructured.Unstructured
	for text := range strings.SplitSeq(manifest, "\n---\n") {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
			t.Fatal(err)
		}
		if o.IsList() {
			list, err := o.ToList()
			if err != nil {
				t.Fatal(err)
			}
			for i := range list.Items {
				all = append(all, &list.Items[i])
			}
			continue
		}
		if o.GetAnnotations()["helm.sh/hook"] == "" {
			all = append(all, o)
		}
	}
	return all
}

// resource returns a client for objects of that kind.
func (c *cluster) resource(t *testing.T, gvk schema.GroupVersionKind, namespace string) dynamic.ResourceInterface {
	t.Helper()
	mapping, err := c.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	if meta.IsNoMatchError(err) {
		c.mapper.Reset()
		mapping, err = c.mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
	}
	if err != nil {
		t.Fatal(err)
	}
	if mapping.Scope.Name() == meta.RESTScopeNameRoot {
		return c.objects.Resource(mapping.Resource)
	}
	return c.objects.Resource(mapping.Resource).Namespace(namespace)
}

// live returns the live object; nil if it does not exist or is being deleted.
func (c *cluster) live(t *testing.T, declared *unstructured.Unstructured, namespace string) *unstructured.Unstructured {
	t.Helper()
	o, err := c.resource(t, declared.GroupVersionKind(), namespace).Get(t.Context(), declared.GetName(), metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && o.GetDeletionTimestamp() != nil {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// create creates objects that belong to no release.
func (c *cluster) create(t *testing.T, manifest, namespace string) {
	t.Helper()
	for _, o := range decode(t, manifest) {
		if _, err := c.resource(t, o.GroupVersionKind(), namespace).Create(t.Context(), o, metav1.CreateOptions{}); err != nil {
			t.Fatalf("create %s %s: %v", o.GetKind(), o.GetName(), err)
		}
	}
}

// define adds a kind to the API and waits until it is served.
func (c *cluster) define(t *testing.T, group, version, kind string) {
	t.Helper()
	plural := strings.TrimSuffix(strings.ToLower(kind), "y") + map[bool]string{true: "ies", false: "s"}[strings.HasSuffix(kind, "y")]
	c.create(t, fmt.Sprintf(`apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: %[4]s.%[1]s}
spec:
  group: %[1]s
  scope: Namespaced
  names: {kind: %[3]s, plural: %[4]s, singular: %[5]s, listKind: %[3]sList}
  versions:
    - name: %[2]s
      served: true
      storage: true
      schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
`, group, version, kind, plural, strings.ToLower(kind)), "")
	resource := c.objects.Resource(schema.GroupVersionResource{Group: group, Version: version, Resource: plural}).Namespace("default")
	eventually(t, func() error {
		_, err := resource.List(t.Context(), metav1.ListOptions{})
		return err
	})
}

func eventually(t *testing.T, done func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		err := done()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatal(err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
