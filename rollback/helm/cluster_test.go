package helm_test

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage/driver"
	helmtime "helm.sh/helm/v3/pkg/time"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	typed "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/helm"
)

const canaryWeight = "nginx.ingress.kubernetes.io/canary-weight"

// web is the release of these tests, at three revisions: v1, v2 and the bad v3.
func web() rollback.Key { return rollback.Key{Namespace: "shop", Release: "web"} }

// manifest is the manifest of a revision of web as Helm renders it.
func manifest(version, weight string) string {
	return fmt.Sprintf(`---
# Source: web/templates/configmap.yaml
apiVersion: v1
kind: ConfigMap
metadata:
  name: web-canary
data:
  version: %[1]s
---
# Source: web/templates/deployment.yaml
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web-canary
spec:
  replicas: 2
  selector: {matchLabels: {track: canary}}
  template:
    metadata:
      labels: {track: canary, app.kubernetes.io/version: %[1]s}
    spec:
      containers:
        - name: web
          image: registry:5000/web:%[1]s
          ports: [{containerPort: 8080}]
          envFrom: [{configMapRef: {name: web-canary}}]
---
# Source: web/templates/ingress.yaml
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: web-canary
  annotations:
    nginx.ingress.kubernetes.io/canary: "true"
    %[3]s: %[2]q
`, version, weight, canaryWeight)
}

// cluster is a client and its API server.
type cluster struct {
	*helm.Client
	*apiServer
	config *rest.Config
	// store is Helm's own driver.
	store driver.Driver
	fence *fence
}

// fence counts its calls, and returns err.
type fence struct {
	mu    sync.Mutex
	calls int
	err   error
}

func (f *fence) close(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *fence) call() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls++
	return f.err
}

// newCluster installs web: the objects as revision 3 declares them, the canary's weight
// shed to zero.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	return newClusterWith(t, func(client typed.CoreV1Interface) driver.Driver { return driver.NewSecrets(client.Secrets("shop")) })
}

// newClusterWith is newCluster for a release in the storage of that driver; the client searches
// the storages.
func newClusterWith(t *testing.T, store func(typed.CoreV1Interface) driver.Driver, storages ...rollback.Storage) *cluster {
	t.Helper()
	server, config := newAPIServer(t)
	fence := &fence{}
	client, err := helm.New(helm.Options{
		Config: config, Storages: storages, Log: slog.New(slog.DiscardHandler), Fence: fence.call,
		User: func(namespace string) string { return "account-of-" + namespace },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Warm(t.Context()); err != nil {
		t.Fatal(err)
	}
	clientset, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{client, server, config, store(clientset.CoreV1()), fence}
	c.revision(t, 1, release.StatusSuperseded, manifest("v1", "5"))
	c.revision(t, 2, release.StatusSuperseded, manifest("v2", "20"))
	c.revision(t, 3, release.StatusDeployed, manifest("v3", "20"))
	c.live(t, manifest("v3", "0"))
	c.resetCounts()
	return c
}

// live stores the manifest's objects.
func (c *cluster) live(t *testing.T, manifest string) {
	t.Helper()
	for text := range strings.SplitSeq(manifest, "---\n") {
		o := &unstructured.Unstructured{}
		if err := yaml.Unmarshal([]byte(text), &o.Object); err != nil {
			t.Fatal(err)
		}
		if o.GetKind() == "" {
			continue
		}
		for path, k := range kinds() {
			if k.kind == o.GetKind() {
				if !k.cluster {
					o.SetNamespace("shop")
				}
				c.put(path[strings.LastIndex(path, "/")+1:]+"/"+o.GetName(), o)
			}
		}
	}
}

// resetCounts begins to count again.
func (c *cluster) resetCounts() {
	c.writes, c.bodies, c.dryRuns, c.dryRunBodies, c.reads, c.fence.calls = nil, nil, nil, nil, make(map[string]int), 0
}

func secretName(number int) string { return fmt.Sprintf("sh.helm.release.v1.web.v%d", number) }

// revision stores a revision as Helm does.
func (c *cluster) revision(t *testing.T, number int, status release.Status, manifest string) {
	t.Helper()
	deployed := helmtime.Time{Time: time.Date(2026, 11, 27, 12, number, 0, 0, time.UTC)}
	err := c.store.Create(secretName(number), &release.Release{
		Name: "web", Namespace: "shop", Version: number, Manifest: manifest,
		Chart: &chart.Chart{Metadata: &chart.Metadata{Name: "web-chart", Version: "1.0.0"}},
		Info:  &release.Info{Status: status, Description: "Upgrade complete", FirstDeployed: deployed, LastDeployed: deployed},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// plan is a rollback from the newest revision to target.
func (c *cluster) plan(t *testing.T, target int) rollback.Plan {
	t.Helper()
	history, err := c.History(t.Context(), web(), rollback.Stored)
	if err != nil {
		t.Fatal(err)
	}
	return rollback.Plan{
		Key: web(), Suspect: history.Newest(), Newest: history.Newest(), Target: target, HookTimeout: time.Minute,
		Hold: func(o rollback.Object) {
			if u := (&unstructured.Unstructured{Object: o}); u.GetKind() == "Ingress" {
				annotations := u.GetAnnotations()
				annotations[canaryWeight] = "0"
				u.SetAnnotations(annotations)
			}
		},
	}
}

// corrupt makes a revision impossible to decode.
func (c *cluster) corrupt(number int) { c.replaceData(number, "bm90IGEgcmVsZWFzZQ==") }
