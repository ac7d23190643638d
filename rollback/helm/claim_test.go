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

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/upcommerce/backout/rollback"
)

const claim = "backout.dev/claim"

func TestTheRevisionCarriesTheClaim(t *testing.T) {
	c := newCluster(t)
	plan := c.plan(t, 2)
	if _, err := c.RollBack(t.Context(), plan); err != nil {
		t.Fatal(err)
	}
	made := c.object(t, "secrets/"+secretName(4))
	if got := made.GetAnnotations()[claim]; got != plan.Suspect.UID {
		t.Errorf("the deployed revision still carries the claim: got %q", got)
	}
	for label := range made.GetLabels() {
		if !slices.Contains([]string{"name", "owner", "status", "version", "createdAt", "modifiedAt"}, label) {
			t.Errorf("the claim is not a label, which the next upgrade would inherit: got %s", label)
		}
	}
	for number, annotations := range map[int]map[string]string{3: nil, 2: nil} {
		if got := c.object(t, "secrets/"+secretName(number)).GetAnnotations(); len(got) != len(annotations) {
			t.Errorf("revision %d carries no claim: got %v", number, got)
		}
	}
	history, err := c.History(t.Context(), web(), rollback.Stored)
	if err != nil || history[0].Claim != plan.Suspect.UID || history[1].Claim != "" {
		t.Errorf("the history has the claim: got %v, %v", history, err)
	}
}

// beforeFirst calls do once, before the first such request for the object.
func (c *cluster) beforeFirst(method, object string, do func()) {
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

// overwrite is another client's write of a revision.
func (c *cluster) overwrite(number int) {
	o := c.objects["secrets/"+secretName(number)].DeepCopy()
	o.SetAnnotations(map[string]string{"other": "client"})
	c.put("secrets/"+secretName(number), o)
}

// TestAnotherClientsWriteStays: Helm would overwrite it.
func TestAnotherClientsWriteStays(t *testing.T) {
	c := newCluster(t)
	c.beforeFirst(http.MethodPatch, "deployments/web-canary", func() { c.overwrite(4) })
	if _, err := c.RollBack(t.Context(), c.plan(t, 2)); !errors.Is(err, rollback.ErrRevisionChanged) {
		t.Errorf("another client wrote the new revision: got %v", err)
	}
	if got := c.object(t, "secrets/"+secretName(4)); got.GetAnnotations()["other"] == "" || got.GetLabels()["status"] != "pending-rollback" {
		t.Errorf("the other client's write stays: got %v", got.GetLabels())
	}
}

func TestSupersedingIsRetried(t *testing.T) {
	c := newCluster(t)
	c.beforeFirst(http.MethodPut, "secrets/"+secretName(3), func() { c.overwrite(3) })
	if _, err := c.RollBack(t.Context(), c.plan(t, 2)); err != nil {
		t.Fatal(err)
	}
	got := c.object(t, "secrets/"+secretName(3))
	if got.GetAnnotations()["other"] == "" || got.GetLabels()["status"] != "superseded" {
		t.Errorf("the status is changed in the Secret as the other client wrote it: got %v, %v", got.GetLabels(), got.GetAnnotations())
	}
}

// TestOnlyTheDeployedIsSuperseded: a revision that has another status meanwhile keeps it.
func TestOnlyTheDeployedIsSuperseded(t *testing.T) {
	c := newCluster(t)
	listed := false
	c.before = func(method, object string) int {
		// Helm queries which revisions are deployed after it has patched the objects.
		listed = listed || method == http.MethodPatch && object == "deployments/web-canary"
		if listed && method == http.MethodGet && object == "secrets/"+secretName(3) {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.label(3, "status", "uninstalled")
		}
		return 0
	}
	if _, err := c.RollBack(t.Context(), c.plan(t, 2)); err != nil {
		t.Fatal(err)
	}
	if got := c.object(t, "secrets/"+secretName(3)).GetLabels()["status"]; got != "uninstalled" {
		t.Errorf("a revision that is no longer deployed keeps its status: got %s", got)
	}
}

// payload returns the JSON in a revision's Secret.
func (c *cluster) payload(t *testing.T, number int) string {
	t.Helper()
	text, _, _ := unstructured.NestedString(c.object(t, "secrets/"+secretName(number)).Object, "data", "release")
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

// repack replaces the JSON in a revision's Secret.
func (c *cluster) repack(number int, text string) {
	var zipped bytes.Buffer
	writer := gzip.NewWriter(&zipped)
	_, _ = writer.Write([]byte(text))
	_ = writer.Close()
	o := c.objects["secrets/"+secretName(number)].DeepCopy()
	once := base64.StdEncoding.EncodeToString(zipped.Bytes())
	_ = unstructured.SetNestedField(o.Object, base64.StdEncoding.EncodeToString([]byte(once)), "data", "release")
	c.put("secrets/"+secretName(number), o)
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
		t.Errorf("the fields of a newer Helm stay, the status changes: got %s", got)
	}
	if stored, err := c.store.Get(secretName(3)); err != nil || stored.Manifest != manifest("v3", "20") || stored.Info.Description != "Upgrade complete" {
		t.Errorf("nothing else changes: got %v, %v", stored, err)
	}
}

func (c *cluster) label(number int, key, value string) {
	o := c.objects["secrets/"+secretName(number)].DeepCopy()
	labels := o.GetLabels()
	labels[key] = value
	o.SetLabels(labels)
	c.put("secrets/"+secretName(number), o)
}
