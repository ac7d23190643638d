package helm_test

import "testing"

// TestNames: completion offers each release once, however many revisions it has. A
// scenario on a real API server checks the namespaces: this one does not set them.
func TestNames(t *testing.T) {
	c := newCluster(t)
	got, err := c.Names(t.Context(), web().Namespace)
	if err != nil || len(got) != 1 || got[0].Release != web().Release {
		t.Errorf("the releases of namespace %s are %s alone: got %v, %v", web().Namespace, web().Release, got, err)
	}
}
