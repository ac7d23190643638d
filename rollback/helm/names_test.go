package helm_test

import "testing"

// TestNames: what completion offers, each release once, however many revisions it
// has. That namespaces are told is for the scenario on a real API server: this one
// does not write them on its objects.
func TestNames(t *testing.T) {
	c := newCluster(t)
	got, err := c.Names(t.Context(), web().Namespace)
	if err != nil || len(got) != 1 || got[0].Release != web().Release {
		t.Errorf("the releases of namespace %s are %s alone: got %v, %v", web().Namespace, web().Release, got, err)
	}
}
