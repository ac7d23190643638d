package helm_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage/driver"
	helmtime "helm.sh/helm/v3/pkg/time"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/upcommerce/backout/rollback"
	"github.com/upcommerce/backout/rollback/helm"
)

const canaryWeight = "nginx.ingress.kubernetes.io/canary-weight"

// web is the release of these tests, at three revisions: v1, v2 and the bad v3.
func web() rollback.Key { return rollback.Key{Namespace: "shop", Release: "web"} }

// manifest is a revision of web as Helm renders it.
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

// cluster is a client, and what it works on.
type cluster struct {
	*helm.Client
	*apiServer
	store *driver.Secrets
	fence *fence
}

// fence counts how often it is asked, and says err.
type fence struct {
	mu    sync.Mutex
	asked int
	err   error
}

func (f *fence) close(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *fence) ask() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked++
	return f.err
}

// newCluster installs web: the objects as revision 3 has them, the canary's
// weight shed to zero.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	server, config := newAPIServer(t)
	fence := &fence{}
	client, err := helm.New(helm.Options{Config: config, Log: slog.New(slog.DiscardHandler), Fence: fence.ask})
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
	c := &cluster{client, server, driver.NewSecrets(clientset.CoreV1().Secrets("shop")), fence}
	c.revision(t, 1, release.StatusSuperseded, manifest("v1", "5"))
	c.revision(t, 2, release.StatusSuperseded, manifest("v2", "20"))
	c.revision(t, 3, release.StatusDeployed, manifest("v3", "20"))
	c.live(t, manifest("v3", "0"))
	c.forget()
	return c
}

// live puts the manifest's objects into the cluster.
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

// forget begins to count anew.
func (c *cluster) forget() {
	c.writes, c.bodies, c.trials, c.trialBodies, c.reads, c.fence.asked = nil, nil, nil, nil, make(map[string]int), 0
}

func secret(number int) string { return fmt.Sprintf("sh.helm.release.v1.web.v%d", number) }

// revision stores one, as Helm does.
func (c *cluster) revision(t *testing.T, number int, status release.Status, manifest string) {
	t.Helper()
	deployed := helmtime.Time{Time: time.Date(2026, 11, 27, 12, number, 0, 0, time.UTC)}
	err := c.store.Create(secret(number), &release.Release{
		Name: "web", Namespace: "shop", Version: number, Manifest: manifest,
		Chart: &chart.Chart{Metadata: &chart.Metadata{Name: "web-chart", Version: "1.0.0"}},
		Info:  &release.Info{Status: status, Description: "Upgrade complete", FirstDeployed: deployed, LastDeployed: deployed},
	})
	if err != nil {
		t.Fatal(err)
	}
}

// plan goes from the newest revision to target.
func (c *cluster) plan(t *testing.T, target int) rollback.Plan {
	t.Helper()
	history, err := c.History(t.Context(), web())
	if err != nil {
		t.Fatal(err)
	}
	return rollback.Plan{
		Key: web(), Accused: history.Accused(), Newest: history.Accused(), Target: target, HookTimeout: time.Minute,
		Hold: func(o rollback.Object) {
			if u := (&unstructured.Unstructured{Object: o}); u.GetKind() == "Ingress" {
				annotations := u.GetAnnotations()
				annotations[canaryWeight] = "0"
				u.SetAnnotations(annotations)
			}
		},
	}
}

// corrupt makes a revision undecodable.
func (c *cluster) corrupt(number int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	o := c.objects["secrets/"+secret(number)]
	_ = unstructured.SetNestedField(o.Object, "bm90IGEgcmVsZWFzZQ==", "data", "release")
	c.put("secrets/"+secret(number), o)
}

func TestHistory(t *testing.T) {
	c := newCluster(t)
	got, err := c.History(t.Context(), web())
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range got {
		number := 3 - i
		want := rollback.Revision{
			Number: number, UID: string(c.object(t, "secrets/"+secret(number)).GetUID()),
			Status: map[int]rollback.Status{1: "superseded", 2: "superseded", 3: "deployed"}[number], Description: "Upgrade complete",
			Chart: "web-chart", Deployed: time.Date(2026, 11, 27, 12, number, 0, 0, time.UTC),
			Content: r.Content, Versions: []string{fmt.Sprintf("v%d", number)},
		}
		if diff := cmp.Diff(want, r); diff != "" || r.Content == "" {
			t.Errorf("a revision is what Helm stored, the newest first (-want +got):\n%s", diff)
		}
	}
	if len(got) != 3 || got[0].Content == got[1].Content {
		t.Errorf("three revisions of three contents: got %v", got)
	}

	clear(c.reads)
	if _, err := c.History(t.Context(), web()); err != nil || len(c.reads) != 0 {
		t.Errorf("what did not change is not read again: %v, %v", c.reads, err)
	}
	c.revision(t, 4, release.StatusPendingUpgrade, manifest("v3", "50"))
	got, err = c.History(t.Context(), web())
	if err != nil || got.Accused().Status != rollback.StatusPendingUpgrade || len(c.reads) != 1 {
		t.Errorf("only what is new is read, pending revisions too: got %v, %v, %v", got, c.reads, err)
	}
	if got[0].Content != got[1].Content {
		t.Error("a ramp is several revisions of one content")
	}
}

func TestHistoryErrors(t *testing.T) {
	t.Run("no release", func(t *testing.T) {
		c := newCluster(t)
		for _, release := range []string{"nothing", "we"} {
			if _, err := c.History(t.Context(), rollback.Key{Namespace: "shop", Release: release}); !errors.Is(err, rollback.ErrUnknownRelease) {
				t.Errorf("what Helm does not know is unknown: got %v", err)
			}
		}
	})
	t.Run("a revision that cannot be decoded", func(t *testing.T) {
		c := newCluster(t)
		c.corrupt(2)
		got, err := c.History(t.Context(), web())
		if err != nil || len(got) != 3 || got[1].Content != "" || got[1].Number != 2 {
			t.Errorf("a corrupt revision stays in the history and is never a target: got %v, %v", got, err)
		}
		if _, err := c.Manifest(t.Context(), web(), 2); err == nil || !strings.Contains(err.Error(), secret(2)) {
			t.Errorf("a corrupt revision becomes an error that names its Secret, not a panic: got %v", err)
		}
	})
	t.Run("a revision that cannot be read now", func(t *testing.T) {
		c := newCluster(t)
		c.before = func(method, object string) int {
			if method == http.MethodGet && object == "secrets/"+secret(2) {
				return http.StatusInternalServerError
			}
			return 0
		}
		if got, err := c.History(t.Context(), web()); err == nil {
			t.Errorf("an API server out of order is an error: another target would be taken for the newest good one; got %v", got)
		}
	})
	t.Run("no answer in time", func(t *testing.T) {
		c := newCluster(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := c.History(ctx, web()); !errors.Is(err, context.Canceled) {
			t.Errorf("an ended context is an error: got %v", err)
		}
	})
}

// TestRollBack is Helm's whole rollback, through both guards.
func TestRollBack(t *testing.T) {
	c := newCluster(t)
	plan := c.plan(t, 2)
	c.forget()
	made, err := c.RollBack(t.Context(), plan)
	reads := maps.Clone(c.reads)
	if err != nil || made != 4 {
		t.Fatalf("the revision after the accused one is made: got %d, %v", made, err)
	}

	for number, want := range map[int]struct {
		status      release.Status
		description string
	}{
		1: {release.StatusSuperseded, "Upgrade complete"}, 2: {release.StatusSuperseded, "Upgrade complete"},
		3: {release.StatusSuperseded, "Upgrade complete"}, 4: {release.StatusDeployed, rollback.Rollback(2)},
	} {
		got, err := c.store.Get(secret(number))
		if err != nil {
			t.Fatal(err)
		}
		if got.Info.Status != want.status || got.Info.Description != want.description {
			t.Errorf("revision %d is %s, %q; want %s, %q", number, got.Info.Status, got.Info.Description, want.status, want.description)
		}
	}
	if got, _ := c.store.Get(secret(4)); got.Manifest != manifest("v2", "20") {
		t.Errorf("the stored revision is the target's, its declared weight too: got\n%s", got.Manifest)
	}
	image, _, _ := unstructured.NestedSlice(c.object(t, "deployments/web-canary").Object, "spec", "template", "spec", "containers")
	if got := image[0].(map[string]any)["image"]; got != "registry:5000/web:v2" {
		t.Errorf("the workload is the target's: got %s", got)
	}
	if got := c.object(t, "ingresses/web-canary").GetAnnotations()[canaryWeight]; got != "0" {
		t.Errorf("the canary's weight stays zero whatever the target declares: got %s", got)
	}
	if reads["secrets/"+secret(1)] != 0 {
		t.Error("no revision but the accused and the target is read")
	}
	if asked := c.fence.asked; asked != len(c.writes) {
		t.Errorf("the fence is asked before every write: %d times, before %d", asked, len(c.writes))
	}
	for _, write := range c.writes {
		if strings.Contains(write, secret(1)) || strings.Contains(write, secret(2)) || strings.HasPrefix(write, "DELETE") {
			t.Errorf("no older revision is written, nothing is deleted: got %s", write)
		}
	}
	if created := slices.DeleteFunc(slices.Clone(c.writes), func(w string) bool { return !strings.HasPrefix(w, "POST") }); !slices.Equal(created, []string{"POST secrets/" + secret(4)}) {
		t.Errorf("exactly one revision is made: got %v", created)
	}
}

// TestRollBackIsExplicit: Helm's own default is the revision before the newest.
func TestRollBackIsExplicit(t *testing.T) {
	c := newCluster(t)
	if _, err := c.RollBack(t.Context(), c.plan(t, 1)); err != nil {
		t.Fatal(err)
	}
	made, err := c.store.Get(secret(4))
	if err != nil || made.Manifest != manifest("v1", "5") || made.Info.Description != rollback.Rollback(1) {
		t.Errorf("the planned target is gone back to, not the revision before the newest: got %v, %v", made, err)
	}
}

// TestRollBackRecreates: somebody deleted the canary's Ingress; Helm makes it
// anew, and its weight is zero from the first moment.
func TestRollBackRecreates(t *testing.T) {
	c := newCluster(t)
	delete(c.objects, "ingresses/web-canary")
	if _, err := c.RollBack(t.Context(), c.plan(t, 2)); err != nil {
		t.Fatal(err)
	}
	if got := c.object(t, "ingresses/web-canary").GetAnnotations()[canaryWeight]; got != "0" {
		t.Errorf("the canary's weight is zero in what is created: got %s", got)
	}
}

// TestRollBackMoved lists what may happen between the decision and the write.
// Nothing is written then.
func TestRollBackMoved(t *testing.T) {
	deployed := func(t *testing.T, c *cluster) { c.revision(t, 4, release.StatusDeployed, manifest("v4", "5")) }
	for what, c := range map[string]struct {
		meanwhile func(*testing.T, *cluster)
		// at is the request before which it happens; "" is before all.
		at string
	}{
		"somebody deployed a newer revision": {deployed, ""},
		"somebody deploys at this moment":    {deployed, "POST secrets/"},
		"an upgrade is in flight": {func(t *testing.T, c *cluster) {
			c.revision(t, 4, release.StatusPendingUpgrade, manifest("v4", "5"))
		}, ""},
		"the release was installed anew": {func(t *testing.T, c *cluster) {
			for number := 1; number <= 3; number++ {
				delete(c.objects, "secrets/"+secret(number))
				c.revision(t, number, release.StatusDeployed, manifest("v3", "5"))
			}
		}, ""},
		"the newest revision was deleted": {func(_ *testing.T, c *cluster) {
			delete(c.objects, "secrets/"+secret(3))
		}, ""},
	} {
		t.Run(what, func(t *testing.T) {
			cluster := newCluster(t)
			plan := cluster.plan(t, 2)
			if c.at == "" {
				c.meanwhile(t, cluster)
			}
			done := false
			cluster.before = func(method, object string) int {
				if method+" "+object == c.at && !done {
					done = true
					c.meanwhile(t, cluster)
				}
				return 0
			}
			before := cluster.objects["ingresses/web-canary"].GetResourceVersion() + cluster.objects["deployments/web-canary"].GetResourceVersion()
			made, err := cluster.RollBack(t.Context(), plan)
			if !errors.Is(err, rollback.ErrMoved) || made != 0 {
				t.Errorf("the release has moved on: got %d, %v", made, err)
			}
			after := cluster.objects["ingresses/web-canary"].GetResourceVersion() + cluster.objects["deployments/web-canary"].GetResourceVersion()
			if before != after {
				t.Errorf("nothing is changed then: got %v", cluster.writes)
			}
			for name, o := range cluster.objects {
				if stored, err := cluster.store.Get(o.GetName()); strings.HasPrefix(name, "secrets/") && (err != nil || strings.HasPrefix(stored.Info.Description, "Rollback")) {
					t.Errorf("no revision is made then: got %s, %v", name, err)
				}
			}
		})
	}
}

func TestRollBackRefuses(t *testing.T) {
	for what, c := range map[string]struct {
		target int
		spoil  func(*cluster)
	}{
		"no target: Helm would take the one before": {0, nil},
		"the accused revision itself":               {3, nil},
		"a newer revision":                          {4, nil},
		"a negative revision":                       {-1, nil},
		"a target that is gone":                     {1, func(c *cluster) { delete(c.objects, "secrets/"+secret(1)) }},
		"a newest revision that is pending": {1, func(c *cluster) {
			o := c.objects["secrets/"+secret(3)]
			o.SetLabels(map[string]string{"owner": "helm", "name": "web", "version": "3", "status": "pending-upgrade"})
		}},
		"not knowing what is autoscaled": {1, func(c *cluster) {
			c.before = func(_, object string) int {
				if object == "horizontalpodautoscalers/" {
					return http.StatusForbidden
				}
				return 0
			}
		}},
		"a target that cannot be decoded": {1, func(c *cluster) { c.corrupt(1) }},
	} {
		t.Run(what, func(t *testing.T) {
			cluster := newCluster(t)
			plan := cluster.plan(t, c.target)
			if c.spoil != nil {
				c.spoil(cluster)
			}
			cluster.writes = nil
			if made, err := cluster.RollBack(t.Context(), plan); err == nil || made != 0 {
				t.Errorf("it is refused: got revision %d", made)
			}
			if len(cluster.writes) != 0 {
				t.Errorf("nothing is written: got %v", cluster.writes)
			}
		})
	}
	t.Run("no limit for hooks: Helm would wait for ever", func(t *testing.T) {
		cluster := newCluster(t)
		plan := cluster.plan(t, 2)
		plan.HookTimeout = 0
		if _, err := cluster.RollBack(t.Context(), plan); err == nil || len(cluster.writes) != 0 {
			t.Errorf("it is refused, and nothing written: got %v, %v", err, cluster.writes)
		}
	})
	t.Run("an ended context", func(t *testing.T) {
		cluster := newCluster(t)
		ctx, cancel := context.WithCancel(t.Context())
		plan := cluster.plan(t, 2)
		cancel()
		if _, err := cluster.RollBack(ctx, plan); !errors.Is(err, context.Canceled) || len(cluster.writes) != 0 {
			t.Errorf("nothing is begun: got %v, %v", err, cluster.writes)
		}
	})
}

func TestReady(t *testing.T) {
	c := newCluster(t)
	status := func(generation, observed, updated, available int64) {
		o := c.objects["deployments/web-canary"]
		o.SetGeneration(generation)
		o.Object["status"] = map[string]any{
			"observedGeneration": observed, "replicas": int64(2), "updatedReplicas": updated, "availableReplicas": available,
		}
	}
	for _, s := range []struct {
		rule                                     string
		generation, observed, updated, available int64
		ready                                    bool
	}{
		{"a change that was not yet seen is waited for", 2, 1, 2, 2, false},
		{"pods of the older template are waited for", 2, 2, 1, 2, false},
		{"pods that are not available are waited for", 2, 2, 2, 1, false},
		{"all pods are new and available", 2, 2, 2, 2, true},
	} {
		status(s.generation, s.observed, s.updated, s.available)
		ready, waiting, err := c.Ready(t.Context(), web(), 3)
		if err != nil || ready != s.ready || (waiting == "") != s.ready {
			t.Errorf("%s: got %t, %q, %v", s.rule, ready, waiting, err)
		}
	}
	delete(c.objects, "deployments/web-canary")
	if ready, waiting, err := c.Ready(t.Context(), web(), 3); err != nil || ready || !strings.Contains(waiting, "web-canary") {
		t.Errorf("a workload that is not there is waited for: got %t, %q, %v", ready, waiting, err)
	}
}
