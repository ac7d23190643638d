package helm_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/upcommerce/backout/rollback"
)

// TestFollow: an alert finds the revisions that were deployed before it cached.
func TestFollow(t *testing.T) {
	c := newCluster(t)
	c.events = make(chan *unstructured.Unstructured)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- c.Follow(ctx, []string{"shop"}, func(k rollback.Key) bool { return k == web() })
	}()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("Follow: %v", err)
		}
	})
	c.revision(t, 4, release.StatusDeployed, manifest("v4", "20"))
	c.events <- c.object(t, "secrets/"+secretName(4))
	for deadline := time.Now().Add(10 * time.Second); c.readsOf("secrets/"+secretName(4)) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a revision that was deployed is read before a caller needs it")
		}
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		c.mu.Lock()
		c.resetCounts()
		c.lists = 0
		c.mu.Unlock()
		got, err := c.History(t.Context(), web(), rollback.Stored)
		if err != nil || got.Newest().Number != 4 {
			t.Fatalf("the newest revision is 4: got %v, %v", got, err)
		}
		c.mu.Lock()
		read, lists := len(c.reads), c.lists
		c.mu.Unlock()
		if read == 0 && lists == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d revisions read and %d lists for a followed release, want none", read, lists)
		}
	}

	expectCached := func(want int, rule string) {
		t.Helper()
		c.mu.Lock()
		c.resetCounts()
		c.lists = 0
		c.mu.Unlock()
		got, err := c.History(t.Context(), web(), rollback.Cached)
		if err != nil || got.Newest().Number != want {
			t.Errorf("%s: got %v, %v", rule, got, err)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.reads)+c.lists > 0 {
			t.Errorf("%s: %d revisions read and %d lists, want none", rule, len(c.reads), c.lists)
		}
	}
	expectCached(4, "a followed release is cached")
	if got, err := c.History(t.Context(), rollback.Key{Namespace: "pay", Release: "web"}, rollback.Cached); !errors.Is(err, rollback.ErrNotCached) {
		t.Errorf("a release that is not followed is not cached: got %v, %v", got, err)
	}
	if got, err := c.History(t.Context(), rollback.Key{Namespace: "shop", Release: "none"}, rollback.Cached); !errors.Is(err, rollback.ErrUnknownRelease) {
		t.Errorf("a followed namespace has no release none: got %v, %v", got, err)
	}

	// The watch has not delivered this one yet.
	c.revision(t, 5, release.StatusDeployed, manifest("v5", "20"))
	if got, err := c.History(t.Context(), web(), rollback.Stored); err != nil || got.Newest().Number != 5 {
		t.Errorf("the newest revision is the stored one, 5: got %v, %v", got, err)
	}
	expectCached(4, "a revision that the watch has not delivered is not cached")
	if got, err := c.History(t.Context(), rollback.Key{Namespace: "pay", Release: "web"}, rollback.Stored); err != nil || len(got) != 5 {
		t.Errorf("a release that is not followed is read: got %v, %v", got, err)
	}
}

// readsOf returns how often an object was read whole.
func (s *apiServer) readsOf(object string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads[object]
}
