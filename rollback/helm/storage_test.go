package helm_test

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/release"
	"helm.sh/helm/v3/pkg/storage/driver"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
	typed "k8s.io/client-go/kubernetes/typed/core/v1"

	"github.com/upcommerce/backout/rollback"
)

func inConfigMaps(client typed.CoreV1Interface) driver.Driver {
	return driver.NewConfigMaps(client.ConfigMaps("shop"))
}

func inSecrets(client typed.CoreV1Interface) driver.Driver {
	return driver.NewSecrets(client.Secrets("shop"))
}

// both are the storages of a client that searches all that there are.
func both() []rollback.Storage { return []rollback.Storage{rollback.Secrets, rollback.ConfigMaps} }

// TestRollBackInConfigMaps: Helm's own driver for ConfigMaps reads what a rollback has stored.
func TestRollBackInConfigMaps(t *testing.T) {
	for name, storages := range map[string][]rollback.Storage{"alone": {rollback.ConfigMaps}, "and Secrets": both()} {
		t.Run(name, func(t *testing.T) {
			c := newClusterWith(t, inConfigMaps, storages...)
			plan := c.plan(t, 2)
			if plan.Newest.Storage != rollback.ConfigMaps {
				t.Errorf("the revision is in %s, want ConfigMaps", plan.Newest.Storage.Kind())
			}
			c.resetCounts()
			result, err := c.Preflight(t.Context(), plan)
			if err != nil {
				t.Fatal(err)
			}
			expectDanger(t, result, "")
			if made, err := c.RollBack(t.Context(), plan); err != nil || made != 4 {
				t.Fatalf("Helm makes the revision after the suspect one: got %d, %v", made, err)
			}
			for number, want := range map[int]release.Status{1: release.StatusSuperseded, 2: release.StatusSuperseded, 3: release.StatusSuperseded, 4: release.StatusDeployed} {
				if got, err := c.store.Get(secretName(number)); err != nil || got.Info.Status != want {
					t.Errorf("revision %d is %s: got %v, %v", number, want, got, err)
				}
			}
			if got, err := c.store.Get(secretName(4)); err != nil || got.Manifest != manifest("v2", "20") || got.Info.Description != rollback.HelmDescription(2) {
				t.Errorf("the stored revision is the target's: got %v, %v", got, err)
			}
			if got := c.object(t, "configmaps/"+secretName(4)).GetAnnotations()[claim]; got != plan.Suspect.UID {
				t.Errorf("the ConfigMap carries the claim: got %q", got)
			}
			for _, write := range slices.Concat(c.writes, c.dryRuns) {
				if strings.Contains(write, " secrets/") {
					t.Errorf("no Secret is written: got %s", write)
				}
			}
			if storages[0] == rollback.ConfigMaps && slices.ContainsFunc(c.requests, func(r string) bool { return strings.Contains(r, "secrets/") }) {
				t.Errorf("no Secret is read: got %v", c.requests)
			}
		})
	}
}

// TestAnotherClientsConfigMapStays: Helm would overwrite it.
func TestAnotherClientsConfigMapStays(t *testing.T) {
	c := newClusterWith(t, inConfigMaps, both()...)
	c.beforeFirst(http.MethodPatch, "deployments/web-canary", func() {
		o := c.objects["configmaps/"+secretName(4)].DeepCopy()
		o.SetAnnotations(map[string]string{"other": "client"})
		c.put("configmaps/"+secretName(4), o)
	})
	if _, err := c.RollBack(t.Context(), c.plan(t, 2)); !errors.Is(err, rollback.ErrRevisionChanged) {
		t.Errorf("another client wrote the new revision: got %v", err)
	}
	if got := c.object(t, "configmaps/"+secretName(4)); got.GetAnnotations()["other"] == "" || got.GetLabels()["status"] != "pending-rollback" {
		t.Errorf("the other client's write stays: got %v", got.GetLabels())
	}
}

func TestRecoverInConfigMaps(t *testing.T) {
	c := newClusterWith(t, inConfigMaps, both()...)
	c.revision(t, 4, release.StatusPendingRollback, manifest("v2", "20"))
	c.objects["configmaps/"+secretName(4)].SetAnnotations(map[string]string{claim: "uid-3"})
	left := c.plan(t, 2).Newest
	if err := c.Recover(t.Context(), web(), left); err != nil {
		t.Fatal(err)
	}
	if got, err := c.store.Get(secretName(4)); err != nil || got.Info.Status != release.StatusFailed || got.Manifest != manifest("v2", "20") {
		t.Errorf("the revision is failed, and else as it was: got %v, %v", got, err)
	}
	if got := c.object(t, "configmaps/"+secretName(4)); got.GetLabels()["status"] != "failed" || string(got.GetUID()) != left.UID {
		t.Errorf("its label says so too, and it is the same ConfigMap: got %v", got.GetLabels())
	}
}

// TestAReleaseInTwoStorages: either may be the one that runs, so that backout touches neither.
func TestAReleaseInTwoStorages(t *testing.T) {
	c := newClusterWith(t, inConfigMaps, both()...)
	plan := c.plan(t, 2)
	c.inSecrets(t, "web")
	c.resetCounts()
	refused := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, rollback.ErrTwoStorages) || errors.Is(err, rollback.ErrUnknownRelease) || errors.Is(err, rollback.ErrRevisionChanged) {
			t.Errorf("%s refuses a release in two storages: got %v", what, err)
		}
	}
	_, err := c.History(t.Context(), web(), rollback.Stored)
	refused("History", err)
	if err != nil && !strings.Contains(err.Error(), "BACKOUT_HELM_DRIVER") {
		t.Errorf("the error says what to do: got %v", err)
	}
	refused("EnsureNewest", c.EnsureNewest(t.Context(), web(), plan.Newest))
	refused("Recover", c.Recover(t.Context(), web(), plan.Newest))
	_, err = c.Preflight(t.Context(), plan)
	refused("Preflight", err)
	_, err = c.RollBack(t.Context(), plan)
	refused("RollBack", err)
	if len(c.writes) > 0 {
		t.Errorf("nothing is written: got %v", c.writes)
	}

	c.follow(t)
	_, err = c.History(t.Context(), web(), rollback.Cached)
	refused("a cached History", err)
	_, err = c.History(t.Context(), web(), rollback.Stored)
	refused("History with watches", err)
	if got := c.Followed(web()); len(got) > 0 {
		t.Errorf("no revision is followed: got %v", got)
	}
}

// TestEachReleaseHasItsOwnStorage: a namespace may have releases in both, and other ConfigMaps
// with Helm's labels.
func TestEachReleaseHasItsOwnStorage(t *testing.T) {
	c := newClusterWith(t, inConfigMaps, both()...)
	c.inSecrets(t, "api")
	c.objects["configmaps/notes"] = &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "v1", "kind": "ConfigMap",
		"metadata": map[string]any{"name": "notes", "namespace": "shop", "labels": map[string]any{"owner": "helm", "name": "api", "version": "7"}},
	}}
	check := func(c rollback.Consistency) func(t *testing.T, cl *cluster) {
		return func(t *testing.T, cl *cluster) {
			t.Helper()
			for release, want := range map[string]rollback.Storage{"web": rollback.ConfigMaps, "api": rollback.Secrets} {
				got, err := cl.History(t.Context(), rollback.Key{Namespace: "shop", Release: release}, c)
				if err != nil || got.Newest().Storage != want || got.Newest().Number > 3 {
					t.Errorf("%s is in %ss: got %v, %v", release, want.Kind(), got, err)
				}
			}
		}
	}
	check(rollback.Stored)(t, c)
	names, err := c.Names(t.Context(), "shop")
	if want := []rollback.Key{{Namespace: "shop", Release: "api"}, web()}; err != nil || !slices.Equal(names, want) {
		t.Errorf("the releases are those of both storages: got %v, %v", names, err)
	}

	c.follow(t)
	c.mu.Lock()
	c.resetCounts()
	c.lists, c.requests = 0, nil
	c.mu.Unlock()
	check(rollback.Cached)(t, c)
	newest, err := c.History(t.Context(), web(), rollback.Cached)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.EnsureNewest(t.Context(), web(), newest.Newest()); err != nil {
		t.Errorf("the newest revision in ConfigMaps is the newest: got %v", err)
	}
	if want := []string{"GET configmaps/" + secretName(3), "GET configmaps/" + secretName(4)}; !slices.Equal(slices.Sorted(slices.Values(c.requests)), want) {
		t.Errorf("with watches, the storage of a release takes no request: got %v, want %v", c.requests, want)
	}
	if got := c.Count(func(rollback.Key) bool { return true }); got != 2 {
		t.Errorf("there are two releases: got %d", got)
	}
}

// inSecrets stores a release of one revision in Secrets.
func (c *cluster) inSecrets(t *testing.T, name string) {
	t.Helper()
	client, err := kubernetes.NewForConfig(c.config)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := c.store.Get(secretName(3))
	if err != nil {
		t.Fatal(err)
	}
	stored.Name = name
	if err := inSecrets(client.CoreV1()).Create("sh.helm.release.v1."+name+".v3", stored); err != nil {
		t.Fatal(err)
	}
}

// follow runs Follow until the test ends, and returns when its watches cover the namespace.
func (c *cluster) follow(t *testing.T) {
	t.Helper()
	c.events = make(chan *unstructured.Unstructured)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- c.Follow(ctx, []string{"shop"}, func(rollback.Key) bool { return true })
	}()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Follow: %v", err)
		}
	})
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if _, err := c.History(t.Context(), web(), rollback.Cached); !errors.Is(err, rollback.ErrNotCached) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the watches deliver no list")
		}
	}
}
