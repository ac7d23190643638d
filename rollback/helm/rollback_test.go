package helm_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/upcommerce/backout/rollback"
)

// TestRollBack is Helm's whole rollback, through both guards.
func TestRollBack(t *testing.T) {
	c := newCluster(t)
	plan := c.plan(t, 2)
	c.resetCounts()
	made, err := c.RollBack(t.Context(), plan)
	reads := maps.Clone(c.reads)
	if err != nil || made != 4 {
		t.Fatalf("Helm makes the revision after the suspect one: got %d, %v", made, err)
	}

	for number, want := range map[int]struct {
		status      release.Status
		description string
	}{
		1: {release.StatusSuperseded, "Upgrade complete"}, 2: {release.StatusSuperseded, "Upgrade complete"},
		3: {release.StatusSuperseded, "Upgrade complete"}, 4: {release.StatusDeployed, rollback.HelmDescription(2)},
	} {
		got, err := c.store.Get(secretName(number))
		if err != nil {
			t.Fatal(err)
		}
		if got.Info.Status != want.status || got.Info.Description != want.description {
			t.Errorf("revision %d is %s, %q; want %s, %q", number, got.Info.Status, got.Info.Description, want.status, want.description)
		}
	}
	if got, _ := c.store.Get(secretName(4)); got.Manifest != manifest("v2", "20") {
		t.Errorf("the stored manifest is the target's, with its declared weight: got\n%s", got.Manifest)
	}
	image, _, _ := unstructured.NestedSlice(c.object(t, "deployments/web-canary").Object, "spec", "template", "spec", "containers")
	if got := image[0].(map[string]any)["image"]; got != "registry:5000/web:v2" {
		t.Errorf("the workload is the target's: got %s", got)
	}
	if got := c.object(t, "ingresses/web-canary").GetAnnotations()[canaryWeight]; got != "0" {
		t.Errorf("the canary's weight stays zero whatever the target declares: got %s", got)
	}
	if reads["secrets/"+secretName(1)] != 0 {
		t.Error("only the suspect and the target revision are read")
	}
	if calls := c.fence.calls; calls != len(c.writes) {
		t.Errorf("the fence is called before every write: %d times, before %d", calls, len(c.writes))
	}
	for _, write := range c.writes {
		if strings.Contains(write, secretName(1)) || strings.Contains(write, secretName(2)) || strings.HasPrefix(write, "DELETE") {
			t.Errorf("no older revision is written, and nothing is deleted: got %s", write)
		}
	}
	if created := slices.DeleteFunc(slices.Clone(c.writes), func(w string) bool { return !strings.HasPrefix(w, "POST") }); !slices.Equal(created, []string{"POST secrets/" + secretName(4)}) {
		t.Errorf("exactly one revision is created: got %v", created)
	}
}

// TestRollBackIsExplicit: Helm's own default is the revision before the newest.
func TestRollBackIsExplicit(t *testing.T) {
	c := newCluster(t)
	if _, err := c.RollBack(t.Context(), c.plan(t, 1)); err != nil {
		t.Fatal(err)
	}
	made, err := c.store.Get(secretName(4))
	if err != nil || made.Manifest != manifest("v1", "5") || made.Info.Description != rollback.HelmDescription(1) {
		t.Errorf("the rollback is to the planned target, not to the revision before the newest: got %v, %v", made, err)
	}
}

// TestRollBackRecreates: an operator deleted the canary's Ingress. Helm creates it again,
// and its weight is zero from the first moment.
func TestRollBackRecreates(t *testing.T) {
	c := newCluster(t)
	delete(c.objects, "ingresses/web-canary")
	if _, err := c.RollBack(t.Context(), c.plan(t, 2)); err != nil {
		t.Fatal(err)
	}
	if got := c.object(t, "ingresses/web-canary").GetAnnotations()[canaryWeight]; got != "0" {
		t.Errorf("the canary's weight is zero in the object that is created: got %s", got)
	}
}

// TestRollBackOfAChangedRelease has the changes that may happen between the decision and
// the write.
func TestRollBackOfAChangedRelease(t *testing.T) {
	deployed := func(t *testing.T, c *cluster) { c.revision(t, 4, release.StatusDeployed, manifest("v4", "5")) }
	for what, c := range map[string]struct {
		change func(*testing.T, *cluster)
		// at is the request before which it happens; "" is before all.
		at string
	}{
		"a user deployed a newer revision": {deployed, ""},
		"a user deploys at this moment":    {deployed, "POST secrets/"},
		"an upgrade is in progress": {func(t *testing.T, c *cluster) {
			c.revision(t, 4, release.StatusPendingUpgrade, manifest("v4", "5"))
		}, ""},
		"the release was installed again": {func(t *testing.T, c *cluster) {
			for number := 1; number <= 3; number++ {
				delete(c.objects, "secrets/"+secretName(number))
				c.revision(t, number, release.StatusDeployed, manifest("v3", "5"))
			}
		}, ""},
		"the newest revision was deleted": {func(_ *testing.T, c *cluster) {
			delete(c.objects, "secrets/"+secretName(3))
		}, ""},
	} {
		t.Run(what, func(t *testing.T) {
			cluster := newCluster(t)
			plan := cluster.plan(t, 2)
			if c.at == "" {
				c.change(t, cluster)
			}
			done := false
			cluster.before = func(method, object string) int {
				if method+" "+object == c.at && !done {
					done = true
					c.change(t, cluster)
				}
				return 0
			}
			before := cluster.objects["ingresses/web-canary"].GetResourceVersion() + cluster.objects["deployments/web-canary"].GetResourceVersion()
			made, err := cluster.RollBack(t.Context(), plan)
			if !errors.Is(err, rollback.ErrRevisionChanged) || made != 0 {
				t.Errorf("the release has changed: got %d, %v", made, err)
			}
			after := cluster.objects["ingresses/web-canary"].GetResourceVersion() + cluster.objects["deployments/web-canary"].GetResourceVersion()
			if before != after {
				t.Errorf("no object is changed: got %v", cluster.writes)
			}
			for name, o := range cluster.objects {
				if stored, err := cluster.store.Get(o.GetName()); strings.HasPrefix(name, "secrets/") && (err != nil || strings.HasPrefix(stored.Info.Description, "Rollback")) {
					t.Errorf("no revision is created: got %s, %v", name, err)
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
		"the suspect revision itself":               {3, nil},
		"a newer revision":                          {4, nil},
		"a negative revision":                       {-1, nil},
		"a target that is gone":                     {1, func(c *cluster) { delete(c.objects, "secrets/"+secretName(1)) }},
		"a newest revision that is pending": {1, func(c *cluster) {
			o := c.objects["secrets/"+secretName(3)]
			o.SetLabels(map[string]string{"owner": "helm", "name": "web", "version": "3", "status": "pending-upgrade"})
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
				t.Errorf("RollBack refuses: got revision %d", made)
			}
			if len(cluster.writes) != 0 {
				t.Errorf("nothing is written: got %v", cluster.writes)
			}
		})
	}
	t.Run("no limit for hooks: Helm would wait forever", func(t *testing.T) {
		cluster := newCluster(t)
		plan := cluster.plan(t, 2)
		plan.HookTimeout = 0
		if _, err := cluster.RollBack(t.Context(), plan); err == nil || len(cluster.writes) != 0 {
			t.Errorf("RollBack refuses, and writes nothing: got %v, %v", err, cluster.writes)
		}
	})
	t.Run("an ended context", func(t *testing.T) {
		cluster := newCluster(t)
		ctx, cancel := context.WithCancel(t.Context())
		plan := cluster.plan(t, 2)
		cancel()
		if _, err := cluster.RollBack(ctx, plan); !errors.Is(err, context.Canceled) || len(cluster.writes) != 0 {
			t.Errorf("RollBack does not begin: got %v, %v", err, cluster.writes)
		}
	})
}
