package helm_test

import (
	"errors"
	"net/http"
	"testing"
)

// TestFence: once backout may not write, it sends no write.
func TestFence(t *testing.T) {
	lost := errors.New("the lease is lost")
	for what, do := range map[string]func(*testing.T, *cluster) error{
		"a rollback": func(t *testing.T, c *cluster) error {
			t.Helper()
			_, err := c.RollBack(t.Context(), c.plan(t, 2))
			return err
		},
		"a recovery": func(t *testing.T, c *cluster) error {
			t.Helper()
			return c.Recover(t.Context(), web(), leavePending(t, c))
		},
	} {
		t.Run(what, func(t *testing.T) {
			c := newCluster(t)
			c.fence.close(lost)
			// The test's own client has no fence.
			if err := do(t, c); !errors.Is(err, lost) {
				t.Errorf("the fence's error is returned: got %v", err)
			}
			if len(c.writes) != 0 {
				t.Errorf("nothing is sent: got %v", c.writes)
			}
		})
	}
	t.Run("in the middle of a rollback", func(t *testing.T) {
		c := newCluster(t)
		c.beforeFirst(http.MethodPatch, "configmaps/web-canary", func() { c.fence.close(lost) })
		if _, err := c.RollBack(t.Context(), c.plan(t, 2)); err == nil {
			t.Error("an object that was not written is an error")
		}
		if got := c.writes[len(c.writes)-1]; got != "PATCH configmaps/web-canary" {
			t.Errorf("nothing is written after that: got %v", c.writes)
		}
	})
	t.Run("a preflight", func(t *testing.T) {
		c := newCluster(t)
		c.fence.close(lost)
		if _, err := c.Preflight(t.Context(), c.plan(t, 2)); err != nil || len(c.dryRuns) == 0 {
			t.Errorf("dry runs pass: got %v, %v", err, c.dryRuns)
		}
		if c.fence.calls != 0 || len(c.writes) != 0 {
			t.Errorf("a preflight writes nothing: got %v", c.writes)
		}
	})
}
