package helm_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v3/pkg/release"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/upcommerce/backout/rollback"
)

const claim = "backout.dev/claim"

func TestClaim(t *testing.T) {
	c := newCluster(t)
	plan := c.plan(t, 2)
	if _, err := c.RollBack(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	made := c.object(t, "secrets/"+secret(4))
	if got := made.GetAnnotations()[claim]; got != plan.Accused.UID {
		t.Errorf("the revision carries the claim to its end: got %q", got)
	}
	for label := range made.GetLabels() {
		if !slices.Contains([]string{"name", "owner", "status", "version", "createdAt", "modifiedAt"}, label) {
			t.Errorf("the claim is no label, which the next upgrade would inherit: got %s", label)
		}
	}
	for number, annotations := range map[int]map[string]string{3: nil, 2: nil} {
		if got := c.object(t, "secrets/"+secret(number)).GetAnnotations(); len(got) != len(annotations) {
			t.Errorf("revision %d is nobody's claim: got %v", number, got)
		}
	}
	history, err := c.History(t.Context(), web())
	if err != nil || history[0].Claim != plan.Accused.UID || history[1].Claim != "" {
		t.Errorf("the history tells whose revision it is: got %v, %v", history, err)
	}
}

// meanwhile calls do once, before the first request for object.
func (c *cluster) meanwhile(method, object string, do func()) {
	done := false
	c.before = func(m, o string) int {
		if m == method && o == object && !done {
			done = true
			c.mu.Lock()
			defer c.mu.Unlock()
			do()
		}
		return 0
	}
}

// touch is somebody else's write of a revision.
func (c *cluster) touch(number int) {
	o := c.objects["secrets/"+secret(number)].DeepCopy()
	o.SetAnnotations(map[string]string{"somebody": "was here"})
	c.put("secrets/"+secret(number), o)
}

// TestClaimIsLost: Helm would replace whatever stands there by then.
func TestClaimIsLost(t *testing.T) {
	c := newCluster(t)
	c.meanwhile(http.MethodPatch, "deployments/web-canary", func() { c.touch(4) })
	if _, err := c.RollBack(t.Context(), c.plan(t, 2)); !errors.Is(err, rollback.ErrMoved) {
		t.Errorf("somebody else wrote the new revision: got %v", err)
	}
	if got := c.object(t, "secrets/"+secret(4)); got.GetAnnotations()["somebody"] == "" || got.GetLabels()["status"] != "pending-rollback" {
		t.Errorf("what somebody else wrote stays: got %v", got.GetLabels())
	}
}

func TestSupersedingIsRepeated(t *testing.T) {
	c := newCluster(t)
	c.meanwhile(http.MethodPut, "secrets/"+secret(3), func() { c.touch(3) })
	if _, err := c.RollBack(t.Context(), c.plan(t, 2)); err != nil {
		t.Fatal(err)
	}
	got := c.object(t, "secrets/"+secret(3))
	if got.GetAnnotations()["somebody"] == "" || got.GetLabels()["status"] != "superseded" {
		t.Errorf("the status is changed in what stands there by then: got %v, %v", got.GetLabels(), got.GetAnnotations())
	}
}

// TestOnlyTheDeployedIsSuperseded: what is something else by then stays so.
func TestOnlyTheDeployedIsSuperseded(t *testing.T) {
	c := newCluster(t)
	listed := false
	c.before = func(method, object string) int {
		// Helm has asked which revisions are deployed once it has patched the objects.
		listed = listed || method == http.MethodPatch && object == "ingresses/web-canary"
		if listed && method == http.MethodGet && object == "secrets/"+secret(3) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.label(3, "status", "uninstalled")
		}
		return 0
	}
	if _, err := c.RollBack(t.Context(), c.plan(t, 2)); err != nil {
		t.Fatal(err)
	}
	if got := c.object(t, "secrets/"+secret(3)).GetLabels()["status"]; got != "uninstalled" {
		t.Errorf("what is no longer deployed keeps its status: got %s", got)
	}
}

// payload unpacks what a revision's Secret holds.
func (c *cluster) payload(t *testing.T, number int) string {
	t.Helper()
	text, _, _ := unstructured.NestedString(c.object(t, "secrets/"+secret(number)).Object, "data", "release")
	for range 2 { // once by Kubernetes, once by Helm
		raw, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			t.Fatal(err)
		}
		text = string(raw)
	}
	reader, err := gzip.NewReader(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	all, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	return string(all)
}

// repack replaces what a revision's Secret holds.
func (c *cluster) repack(number int, text string) {
	var zipped bytes.Buffer
	writer := gzip.NewWriter(&zipped)
	_, _ = writer.Write([]byte(text))
	_ = writer.Close()
	o := c.objects["secrets/"+secret(number)].DeepCopy()
	once := base64.StdEncoding.EncodeToString(zipped.Bytes())
	_ = unstructured.SetNestedField(o.Object, base64.StdEncoding.EncodeToString([]byte(once)), "data", "release")
	c.put("secrets/"+secret(number), o)
}

// TestOnlyTheStatusChanges: Helm 4 stores more than this Helm reads.
func TestOnlyTheStatusChanges(t *testing.T) {
	c := newCluster(t)
	c.repack(3, strings.Replace(c.payload(t, 3), "{", `{"apply_method":"ssa",`, 1))
	if _, err := c.RollBack(t.Context(), c.plan(t, 2)); err != nil {
		t.Fatal(err)
	}
	got := c.payload(t, 3)
	if !strings.Contains(got, `"apply_method":"ssa"`) || !strings.Contains(got, `"status":"superseded"`) {
		t.Errorf("what a newer Helm wrote stays, the status changes: got %s", got)
	}
	if stored, err := c.store.Get(secret(3)); err != nil || stored.Manifest != manifest("v3", "20") || stored.Info.Description != "Upgrade complete" {
		t.Errorf("nothing else changes: got %v, %v", stored, err)
	}
}

// pending leaves revision 4 behind, as a rollback does that dies.
func pending(t *testing.T, c *cluster) rollback.Revision {
	t.Helper()
	c.revision(t, 4, release.StatusPendingRollback, manifest("v2", "20"))
	o := c.objects["secrets/"+secret(4)].DeepCopy()
	o.SetAnnotations(map[string]string{claim: "uid-3"})
	c.put("secrets/"+secret(4), o)
	history, err := c.History(t.Context(), web())
	if err != nil {
		t.Fatal(err)
	}
	c.forget()
	return history.Accused()
}

func TestRecover(t *testing.T) {
	c := newCluster(t)
	left := pending(t, c)
	if err := c.Recover(t.Context(), web(), left); err != nil {
		t.Fatal(err)
	}
	stored, err := c.store.Get(secret(4))
	if err != nil || stored.Info.Status != release.StatusFailed || !strings.Contains(stored.Info.Description, "failed") {
		t.Errorf("the revision is failed and says so: got %v, %v", stored.Info, err)
	}
	if got := c.object(t, "secrets/"+secret(4)); got.GetLabels()["status"] != "failed" || got.GetAnnotations()[claim] != "uid-3" || got.GetUID() != "" && string(got.GetUID()) != left.UID {
		t.Errorf("its label says so too, and it stays ours: got %v, %v", got.GetLabels(), got.GetAnnotations())
	}
	if !slices.Equal(c.writes, []string{"PUT secrets/" + secret(4)}) {
		t.Errorf("nothing else is written: got %v", c.writes)
	}
	if !strings.Contains(c.bodies[0], `"resourceVersion"`) {
		t.Error("it is written only if it is what was read")
	}
}

func TestRecoverMoved(t *testing.T) {
	for what, spoil := range map[string]func(*cluster, *rollback.Revision){
		"it is gone":                   func(c *cluster, _ *rollback.Revision) { delete(c.objects, "secrets/"+secret(4)) },
		"it has ended":                 func(c *cluster, _ *rollback.Revision) { c.label(4, "status", "deployed") },
		"it was recovered already":     func(c *cluster, _ *rollback.Revision) { c.label(4, "status", "failed") },
		"it is another number":         func(c *cluster, _ *rollback.Revision) { c.label(4, "version", "5") },
		"it is from another life":      func(_ *cluster, r *rollback.Revision) { r.UID = "uid-of-another-life" },
		"it is somebody else's":        func(c *cluster, r *rollback.Revision) { c.touch(4); r.Claim = "" },
		"it is somebody else's by now": func(c *cluster, _ *rollback.Revision) { c.touch(4) },
		"it is for another revision":   func(_ *cluster, r *rollback.Revision) { r.Claim = "uid-2" },
		"somebody writes it at this point": func(c *cluster, _ *rollback.Revision) {
			c.meanwhile(http.MethodPut, "secrets/"+secret(4), func() { c.touch(4) })
		},
	} {
		t.Run(what, func(t *testing.T) {
			c := newCluster(t)
			left := pending(t, c)
			spoil(c, &left)
			if err := c.Recover(t.Context(), web(), left); !errors.Is(err, rollback.ErrMoved) {
				t.Errorf("it is not what was left behind: got %v", err)
			}
			for _, o := range c.objects {
				if o.GetLabels()["status"] == "failed" && what != "it was recovered already" {
					t.Errorf("nothing is written then: got %s", o.GetName())
				}
			}
		})
	}
}

func (c *cluster) label(number int, key, value string) {
	o := c.objects["secrets/"+secret(number)].DeepCopy()
	labels := o.GetLabels()
	labels[key] = value
	o.SetLabels(labels)
	c.put("secrets/"+secret(number), o)
}

// TestFence: once backout may not write, nothing of it does.
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
			return c.Recover(t.Context(), web(), pending(t, c))
		},
	} {
		t.Run(what, func(t *testing.T) {
			c := newCluster(t)
			c.fence.close(lost)
			// The test's own client does not go through the fence.
			if err := do(t, c); !errors.Is(err, lost) {
				t.Errorf("the fence's error is returned: got %v", err)
			}
			if len(c.writes) != 0 {
				t.Errorf("nothing is sent: got %v", c.writes)
			}
		})
	}
	t.Run("in the middle", func(t *testing.T) {
		c := newCluster(t)
		c.meanwhile(http.MethodPatch, "configmaps/web-canary", func() { c.fence.close(lost) })
		if _, err := c.RollBack(t.Context(), c.plan(t, 2)); err == nil {
			t.Error("what was not written is an error")
		}
		if got := c.writes[len(c.writes)-1]; got != "PATCH configmaps/web-canary" {
			t.Errorf("nothing is written after that: got %v", c.writes)
		}
	})
	t.Run("looking ahead and reading", func(t *testing.T) {
		c := newCluster(t)
		c.fence.close(lost)
		if _, err := c.Check(t.Context(), c.plan(t, 2)); err != nil || len(c.trials) == 0 {
			t.Errorf("what is only tried out passes: got %v, %v", err, c.trials)
		}
		if c.fence.asked != 0 || len(c.writes) != 0 {
			t.Errorf("it writes nothing: got %v", c.writes)
		}
	})
}

// TestLeftOver: Helm only logs that it could not delete an object.
func TestLeftOver(t *testing.T) {
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
		t.Errorf("an object that is left over is an error that names it: got %v", err)
	}
	if got := c.object(t, "secrets/"+secret(5)).GetLabels()["status"]; got != "failed" {
		t.Errorf("the rollback has failed then: got %s", got)
	}
	keep := c.objects["configmaps/extra"]
	keep.SetAnnotations(map[string]string{"helm.sh/resource-policy": "keep"})
	history, err := c.History(t.Context(), web())
	if err != nil {
		t.Fatal(err)
	}
	plan := rollback.Plan{Key: web(), Accused: history[1], Newest: history[0], Target: 2, HookTimeout: 1}
	if made, err := c.RollBack(t.Context(), plan); err != nil || made != 6 {
		t.Errorf("what is to be kept is not left over: got %d, %v", made, err)
	}
}
