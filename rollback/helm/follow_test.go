package helm_test

import (
	"context"
	"testing"
	"time"

	"helm.sh/helm/v3/pkg/release"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/upcommerce/backout/rollback"
)

// TestFollow: what was deployed is known when an alert comes.
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
	c.events <- c.object(t, "secrets/"+secret(4))
	for deadline := time.Now().Add(10 * time.Second); c.count("secrets/"+secret(4)) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("a revision that was deployed is read before anybody asks")
		}
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		c.mu.Lock()
		c.forget()
		c.lists = 0
		c.mu.Unlock()
		got, err := c.History(t.Context(), web())
		if err != nil || got.Accused().Number != 4 {
			t.Fatalf("the newest revision is 4: got %v, %v", got, err)
		}
		c.mu.Lock()
		read, lists := len(c.reads), c.lists
		c.mu.Unlock()
		if read == 0 && lists == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d revisions read and %d lists for what is followed, want none", read, lists)
		}
	}

	atHand := func(want int, rule string) {
		t.Helper()
		c.mu.Lock()
		c.forget()
		c.lists = 0
		c.mu.Unlock()
		got, ok := c.HistoryAtHand(web())
		if !ok || got.Accused().Number != want {
			t.Errorf("%s: got %v, %v", rule, got, ok)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		if len(c.reads)+c.lists > 0 {
			t.Errorf("%s: %d revisions read and %d lists, want none", rule, len(c.reads), c.lists)
		}
	}
	atHand(4, "what is followed is at hand")
	if got, ok := c.HistoryAtHand(rollback.Key{Namespace: "pay", Release: "web"}); ok {
		t.Errorf("what is not followed is not at hand: got %v", got)
	}

	// Nobody has told of this one yet.
	c.revision(t, 5, release.StatusDeployed, manifest("v5", "20"))
	if got, err := c.History(t.Context(), web()); err != nil || got.Accused().Number != 5 {
		t.Errorf("the newest revision is the stored one, 5: got %v, %v", got, err)
	}
	atHand(4, "what nobody has told of is not at hand")
	if got, err := c.History(t.Context(), rollback.Key{Namespace: "pay", Release: "web"}); err != nil || len(got) != 5 {
		t.Errorf("what is not followed is read: got %v, %v", got, err)
	}
}

// count returns how often an object was read whole.
func (s *apiServer) count(object string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.reads[object]
}
