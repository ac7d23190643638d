package helm_test

import (
	"errors"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/upcommerce/backout/rollback"
)

// TestEnsureNewest: it is the precondition of writing a weight.
func TestEnsureNewest(t *testing.T) {
	c := newCluster(t)
	history, err := c.History(t.Context(), web(), rollback.Stored)
	if err != nil {
		t.Fatal(err)
	}
	newest := history.Newest()
	if err := c.EnsureNewest(t.Context(), web(), newest); err != nil {
		t.Errorf("revision %d is the newest: %v", newest.Number, err)
	}
	for what, r := range map[string]rollback.Revision{
		"an older one":                history[1],
		"one of another installation": {Number: newest.Number, UID: "uid-of-another-installation"},
		"one that does not exist":     {Number: 7, UID: newest.UID},
		"one without a UID":           {Number: newest.Number},
	} {
		if err := c.EnsureNewest(t.Context(), web(), r); !errors.Is(err, rollback.ErrRevisionChanged) {
			t.Errorf("%s is not the newest: got %v", what, err)
		}
	}
	for _, unreadable := range []string{secretName(newest.Number), secretName(newest.Number + 1)} {
		c.before = func(_, object string) int {
			if object == "secrets/"+unreadable {
				return http.StatusInternalServerError
			}
			return 0
		}
		if err := c.EnsureNewest(t.Context(), web(), newest); err == nil || errors.Is(err, rollback.ErrRevisionChanged) {
			t.Errorf("a Secret that cannot be read proves nothing: got %v without %s", err, unreadable)
		}
	}
}

// TestAnUninstalledRevisionIsNotTheNewest: its routes are about to be deleted.
func TestAnUninstalledRevisionIsNotTheNewest(t *testing.T) {
	for _, status := range []rollback.Status{rollback.StatusUninstalling, rollback.StatusUninstalled} {
		c := newCluster(t)
		history, err := c.History(t.Context(), web(), rollback.Stored)
		if err != nil {
			t.Fatal(err)
		}
		c.relabel(3, string(status))
		if err := c.EnsureNewest(t.Context(), web(), history.Newest()); !errors.Is(err, rollback.ErrRevisionChanged) {
			t.Errorf("nothing is written for a release that is %s: got %v", status, err)
		}
	}
}

// TestTheNewestRevisionIsTheStored: the API server's cache, which is read first, may not
// have it yet.
func TestTheNewestRevisionIsTheStored(t *testing.T) {
	for name, happens := range map[string]func(t *testing.T, c *cluster){
		"a revision was created": func(t *testing.T, c *cluster) { c.revision(t, 4, release.StatusDeployed, manifest("v4", "20")) },
		"its status has changed": func(_ *testing.T, c *cluster) { c.relabel(3, "failed") },
		"it is gone": func(_ *testing.T, c *cluster) {
			c.mu.Lock()
			defer c.mu.Unlock()
			delete(c.objects, "secrets/"+secretName(3))
		},
		"nothing happened": func(*testing.T, *cluster) {},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t)
			c.stale = c.copy()
			happens(t, c)
			got, err := c.History(t.Context(), web(), rollback.Stored)
			if err != nil {
				t.Fatal(err)
			}
			c.stale = nil
			want, err := c.History(t.Context(), web(), rollback.Stored)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("the history is that of the store (-want +got):\n%s", diff)
			}
		})
	}
	t.Run("the release was installed", func(t *testing.T) {
		c := newCluster(t)
		c.stale = map[string]*unstructured.Unstructured{}
		if got, err := c.History(t.Context(), web(), rollback.Stored); err != nil || len(got) != 3 {
			t.Errorf("a release that the cache does not have yet is known: got %v, %v", got, err)
		}
	})
}

// copy returns the objects as they are now.
func (s *apiServer) copy() map[string]*unstructured.Unstructured {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]*unstructured.Unstructured)
	for name, o := range s.objects {
		all[name] = o.DeepCopy()
	}
	return all
}

// relabel gives a stored revision another status.
func (s *apiServer) relabel(number int, status string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.objects["secrets/"+secretName(number)].DeepCopy()
	set := o.GetLabels()
	set["status"] = status
	o.SetLabels(set)
	s.put("secrets/"+secretName(number), o)
}

// TestARollbackIsGuardedByTheStore: a user has begun an upgrade that the API server's
// cache does not have yet.
func TestARollbackIsGuardedByTheStore(t *testing.T) {
	c := newCluster(t)
	plan := c.plan(t, 1)
	c.stale = c.copy()
	c.relabel(3, "pending-upgrade")
	c.resetCounts()
	if _, err := c.RollBack(t.Context(), plan); err == nil || len(c.writes) > 0 {
		t.Errorf("nothing is written while an upgrade is in progress: got %v after %v", err, c.writes)
	}
}
