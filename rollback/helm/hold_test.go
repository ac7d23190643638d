package helm_test

import (
	"net/http"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/release"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/upcommerce/backout/rollback"
)

// TestAnObjectThatIsNotDeletedIsAnError: Helm only logs it.
func TestAnObjectThatIsNotDeletedIsAnError(t *testing.T) {
	c := newCluster(t)
	const extra = "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: extra}\n"
	c.revision(t, 4, release.StatusDeployed, manifest("v4", "20")+extra)
	c.live(t, extra)
	c.refuse = func(method, _ string) metav1.Status {
		if method == http.MethodDelete {
			return metav1.Status{Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden, Message: "no"}
		}
		return metav1.Status{}
	}
	if _, err := c.RollBack(t.Context(), c.plan(t, 2)); err == nil || !strings.Contains(err.Error(), "extra") {
		t.Errorf("an object that was not deleted is an error that names it: got %v", err)
	}
	if got := c.object(t, "secrets/"+secretName(5)).GetLabels()["status"]; got != "failed" {
		t.Errorf("the rollback has failed: got %s", got)
	}
	keep := c.objects["configmaps/extra"]
	keep.SetAnnotations(map[string]string{"helm.sh/resource-policy": "keep"})
	history, err := c.History(t.Context(), web(), rollback.Stored)
	if err != nil {
		t.Fatal(err)
	}
	plan := rollback.Plan{Key: web(), Suspect: history[1], Newest: history[0], Target: 2, HookTimeout: 1}
	if made, err := c.RollBack(t.Context(), plan); err != nil || made != 6 {
		t.Errorf("an object that Helm keeps is no error: got %d, %v", made, err)
	}
}
